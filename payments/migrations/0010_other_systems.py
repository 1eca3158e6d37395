from django.apps import apps as installed
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

GROUP = "Integration"
MAY = ("manage_endpoint", "manage_key")
SEEN = ("apikey", "businessevent", "delivery", "endpoint")


def make_group(apps, schema_editor):
    """Who looks after the shop's other systems: their keys and their endpoints, and no money. Everybody of staff sees them."""
    create_permissions(installed.get_app_config("shop"), verbosity=0, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="shop")
    groups = apps.get_model("auth", "Group").objects
    seen = permissions.filter(codename__in=[f"view_{name}" for name in SEEN])
    for group in groups.filter(name__in=("Viewer", "Support", "Finance")):
        group.permissions.add(*seen)
    integration, _ = groups.get_or_create(name=GROUP)
    integration.permissions.add(*seen, *permissions.filter(codename__in=MAY))


def remove_group(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name=GROUP).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("payments", "0009_mails_that_money_is_back"),
        ("shop", "0010_sequences_are_counted"),
    ]

    operations = [
        migrations.AlterField(
            model_name="case",
            name="kind",
            field=models.CharField(
                choices=[
                    ("mismatch", "Amount or currency differ"),
                    ("unmatched", "Money for no payment of ours"),
                    ("unanswered", "The channel gave no answer until the last query"),
                    ("refund", "A refund needs a person"),
                    ("approval", "A refund waits for a second person"),
                    ("disagrees", "Order and receipts do not agree"),
                    ("console_refund", "Refunded in the channel's own console"),
                    ("mail", "A receipt cannot be delivered to the address"),
                    ("no_alarm", "Something unfinished had no alarm"),
                    ("failing", "An alarm fails again and again"),
                    ("payout", "Money to be given back by hand"),
                    ("irregular", "The channel itself calls it irregular"),
                    ("books", "The channel's books and ours differ"),
                    ("proposal", "A settlement waits for a second person"),
                    ("webhook", "Another system could not be told"),
                ],
                max_length=20,
            ),
        ),
        migrations.RunPython(make_group, remove_group),
    ]
