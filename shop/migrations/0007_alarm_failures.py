from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0006_history_is_emptied_by_nobody"),
    ]

    operations = [
        migrations.AddField(
            model_name="alarm",
            name="failures",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
