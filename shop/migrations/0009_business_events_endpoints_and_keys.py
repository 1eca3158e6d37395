import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import shop.numbers


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0008_links_in_history"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.CharField(
                        default=shop.numbers.new_endpoint_number, editable=False, max_length=32, unique=True
                    ),
                ),
                ("url", models.CharField(max_length=500)),
                ("note", models.CharField(blank=True, max_length=100)),
                ("types", models.JSONField(blank=True, default=list)),
                ("secret", models.TextField(editable=False)),
                ("old_secret", models.TextField(blank=True, editable=False)),
                ("old_until", models.DateTimeField(blank=True, null=True)),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("off_at", models.DateTimeField(blank=True, null=True)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                ("since_position", models.PositiveBigIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["id"],
                "permissions": [("manage_endpoint", "Can add, change and switch webhook endpoints")],
            },
        ),
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.CharField(
                        default=shop.numbers.new_key_number, editable=False, max_length=32, unique=True
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("secret_hash", models.CharField(editable=False, max_length=64)),
                ("old_hash", models.CharField(blank=True, editable=False, max_length=64)),
                ("old_until", models.DateTimeField(blank=True, null=True)),
                ("scopes", models.JSONField(default=list)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "API key",
                "ordering": ["id"],
                "permissions": [("manage_key", "Can make, rotate and revoke API keys")],
            },
        ),
        migrations.CreateModel(
            name="BusinessEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.CharField(
                        default=shop.numbers.new_event_number, editable=False, max_length=32, unique=True
                    ),
                ),
                ("stream", models.CharField(max_length=64)),
                ("sequence", models.PositiveIntegerField(db_default=0, editable=False)),
                ("type", models.CharField(max_length=30)),
                ("subject", models.CharField(help_text="public number of what it is about", max_length=64)),
                ("data", models.JSONField(default=dict)),
                ("position", models.PositiveBigIntegerField(blank=True, null=True, unique=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("position__isnull", True)),
                        fields=["id"],
                        name="event_unpublished",
                    ),
                    models.Index(fields=["at"], name="business_event_at"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("stream", "sequence"), name="one_place_in_a_stream")
                ],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("WAITING", "Waiting"), ("TAKEN", "Taken"), ("DEAD", "Given up")],
                        default="WAITING",
                        max_length=10,
                    ),
                ),
                ("tries", models.PositiveIntegerField(db_default=0, default=0)),
                ("first_tried_at", models.DateTimeField(blank=True, null=True)),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                ("answer", models.CharField(blank=True, max_length=100)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="shop.businessevent",
                    ),
                ),
                (
                    "endpoint",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="shop.endpoint",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "WAITING")),
                        fields=["endpoint", "id"],
                        name="delivery_waiting",
                    ),
                    models.Index(
                        condition=models.Q(("status", "DEAD")),
                        fields=["endpoint", "id"],
                        name="delivery_dead",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("endpoint", "event"), name="one_delivery_for_each_endpoint"
                    )
                ],
            },
        ),
    ]
