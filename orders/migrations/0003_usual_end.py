from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0002_supplied")]
    operations = [
        migrations.AddField("order", "usual_expires_at", models.DateTimeField(blank=True, null=True)),
    ]
