from django.db import migrations, models


class Migration(migrations.Migration):
    """Choices only: the database does not change."""

    dependencies = [("shop", "0007_alarm_failures")]
    operations = [
        migrations.AlterField(
            "event",
            "subject_kind",
            models.CharField(
                choices=[
                    ("order", "order"),
                    ("payment", "payment"),
                    ("refund", "refund"),
                    ("link", "link"),
                    ("mail", "mail"),
                ],
                max_length=10,
            ),
        ),
    ]
