from django.db import migrations, models


class Migration(migrations.Migration):
    """What the code of the day before leaves out, the database fills: a product without them shows its English."""

    dependencies = [("orders", "0005_links")]
    operations = [
        migrations.AddField(
            "product",
            "name_zh_hans",
            models.CharField("name in Chinese", blank=True, db_default="", max_length=100),
        ),
        migrations.AddField(
            "product",
            "description_zh_hans",
            models.CharField("description in Chinese", blank=True, db_default="", max_length=300),
        ),
    ]
