from django.db import migrations, models
from django.db.models import F, Q, Value
from django.db.models.functions import Concat

SOURCES = [
    ("SHOPPER", "Shopper"),
    ("API", "Another system"),
    ("STAFF", "Staff"),
    ("SYSTEM", "System"),
    ("RESPONSE", "Response"),
    ("CALLBACK", "Callback"),
    ("QUERY", "Query"),
    ("STATEMENT", "Statement"),
]
# A refund that a system asked for was asked for by the owner of its key, too.
IS_THEIR_OWN = Q(approved_by=F("asked_by")) | Q(
    asked_by__endswith=Concat(Value(" ("), F("approved_by"), Value(")"))
)


class Migration(migrations.Migration):
    dependencies = [("payments", "0010_other_systems"), ("shop", "0013_systems_in_history")]

    operations = [
        migrations.AlterField(
            model_name=name,
            name="source",
            field=models.CharField(choices=SOURCES, max_length=10),
        )
        for name in ("call", "receipt")
    ] + [
        migrations.RemoveConstraint(model_name="refund", name="nobody_approves_their_own"),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=Q(approved_by="") | ~IS_THEIR_OWN, name="nobody_approves_their_own"
            ),
        ),
    ]
