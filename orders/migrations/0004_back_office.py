import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0003_usual_end"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="order",
            options={
                "ordering": ["-id"],
                "permissions": [
                    ("cancel_order", "Can cancel an unpaid order"),
                    ("ship_order", "Can mark orders as shipped and completed"),
                    ("resend_receipt", "Can send the receipt once more"),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(django.db.models.functions.text.Upper("email"), name="order_of_email"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["phone"], name="order_of_phone"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["status", "-id"], name="order_by_status"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["created_at"], name="order_by_date"),
        ),
    ]
