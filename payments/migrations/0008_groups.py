from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

SEEN = ("orders", "payments", "shop")
# Everybody of these sees all that there is of the apps above, and changes nothing of it but by what stands here.
GROUPS = {
    "Viewer": {},
    "Support": {
        "orders": ["cancel_order", "ship_order", "resend_receipt"],
        "payments": [
            "ask_payment",
            "close_payment",
            "propose_settlement",
            "replay_callback",
            "ask_refund",
            "decide_case",
            "export_rows",
        ],
    },
    "Finance": {
        "payments": [
            "ask_payment",
            "propose_settlement",
            "approve_settlement",
            "ask_refund",
            "approve_refund",
            "view_raw_callback",
            "replay_callback",
            "decide_case",
            "reconcile_statement",
            "export_rows",
        ],
    },
}


def make_groups(apps, schema_editor):
    """Permissions are usually made after the last migration; those of a new database are needed now."""
    for label in SEEN:
        create_permissions(installed.get_app_config(label), verbosity=0, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects
    seen = permissions.filter(codename__startswith="view_", content_type__app_label__in=SEEN)
    seen = seen.exclude(codename="view_raw_callback")  # Finance only
    for name, deeds in GROUPS.items():
        group, _ = apps.get_model("auth", "Group").objects.get_or_create(name=name)
        group.permissions.add(*seen)
        for label, codenames in deeds.items():
            for codename in codenames:
                group.permissions.add(permissions.get(codename=codename, content_type__app_label=label))


def remove_groups(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("orders", "0004_back_office"),
        ("payments", "0007_back_office"),
        ("shop", "0006_history_is_emptied_by_nobody"),
    ]

    operations = [
        migrations.AddField(
            model_name="receipt",
            name="resends",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.RunPython(make_groups, remove_groups),
    ]
