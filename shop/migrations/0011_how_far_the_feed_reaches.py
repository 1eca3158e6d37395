from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0010_sequences_are_counted")]

    operations = [
        migrations.CreateModel(
            name="Horizon",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("forgotten_to", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
                "constraints": [models.CheckConstraint(condition=models.Q(("id", 1)), name="one_horizon")],
            },
        ),
    ]
