import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    """What the code of the day before leaves out, the database fills. A link that was given out lives on from today."""

    dependencies = [("orders", "0004_back_office")]
    operations = [
        migrations.AddField("order", "language", models.CharField(db_default="en", max_length=10)),
        migrations.AddField(
            "order", "link_since", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())
        ),
        migrations.AddField("order", "link_asked_at", models.DateTimeField(blank=True, null=True)),
    ]
