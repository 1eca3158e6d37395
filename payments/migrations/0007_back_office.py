import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import payments.channels.registry

# Refunds that had ended before their end was kept: their last event tells it.
ENDED = """
update payments_refund refund set ended_at = event.at
  from (select subject, max(at) as at from shop_event where subject_kind = 'refund' group by subject) event
 where event.subject = refund.number and refund.status in ('REFUNDED', 'FAILED', 'REJECTED')
"""
KEEP = """
create trigger actions_are_append_only before update or delete on payments_staffaction
    for each row execute function refuse_to_change_history();
create trigger actions_are_kept before truncate on payments_staffaction
    for each statement execute function refuse_to_change_history();
"""
LET_GO = """
drop trigger actions_are_append_only on payments_staffaction;
drop trigger actions_are_kept on payments_staffaction;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0004_back_office"),
        ("payments", "0006_ended_payments"),
        ("shop", "0006_history_is_emptied_by_nobody"),
    ]

    operations = [
        migrations.CreateModel(
            name="Call",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order_number", models.CharField(blank=True, max_length=32)),
                ("subject", models.CharField(help_text="our number of the payment or refund", max_length=64)),
                ("channel", models.CharField(choices=payments.channels.registry.list_choices, max_length=10)),
                ("operation", models.CharField(max_length=20)),
                ("outcome", models.CharField(max_length=20)),
                ("code", models.CharField(blank=True, max_length=64)),
                ("took_ms", models.PositiveIntegerField()),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("SHOPPER", "Shopper"),
                            ("STAFF", "Staff"),
                            ("SYSTEM", "System"),
                            ("RESPONSE", "Response"),
                            ("CALLBACK", "Callback"),
                            ("QUERY", "Query"),
                            ("STATEMENT", "Statement"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="of the answer"
                    ),
                ),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Difference",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(choices=payments.channels.registry.list_choices, max_length=10)),
                ("day", models.DateField(help_text="of the statement that shows it")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("unsettled", "Paid there, not settled here"),
                            ("stranger", "Paid there, no payment of ours"),
                            ("missing", "Paid here, not in their books"),
                            ("amount", "Another amount"),
                            ("currency", "Another currency"),
                            ("doubled", "Twice in their books"),
                            ("fee", "Another fee than agreed"),
                            ("refund_unknown", "Refunded there, unknown here"),
                            ("refund_status", "Refunded there, not here"),
                            ("refund_missing", "Refunded here, not in their books"),
                            ("refund_amount", "Another amount went back"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "severity",
                    models.PositiveSmallIntegerField(choices=[(1, "note"), (2, "look"), (3, "money")]),
                ),
                (
                    "subject",
                    models.CharField(
                        help_text="the channel's number of the trade or refund, else ours", max_length=64
                    ),
                ),
                (
                    "number",
                    models.CharField(blank=True, help_text="ours, as far as it is known", max_length=64),
                ),
                ("currency", models.CharField(max_length=3)),
                ("theirs", models.BigIntegerField(help_text="minor units", null=True)),
                ("ours", models.BigIntegerField(help_text="minor units", null=True)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("case", "A person decides"),
                            ("decided", "A person has decided"),
                            ("repaired", "Repaired"),
                            ("gone", "Not found any more"),
                        ],
                        db_default="open",
                        default="open",
                        max_length=10,
                    ),
                ),
                ("is_by_hand", models.BooleanField(db_default=False, default=False)),
                ("found_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["-severity", "id"],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("place", models.PositiveIntegerField(help_text="in the file, from 1")),
                (
                    "kind",
                    models.CharField(choices=[("payment", "payment"), ("refund", "refund")], max_length=10),
                ),
                ("number", models.CharField(max_length=64)),
                ("channel_number", models.CharField(max_length=64)),
                ("amount", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("fee", models.BigIntegerField()),
                ("payment_number", models.CharField(max_length=64)),
                ("trade_number", models.CharField(max_length=64)),
                ("at", models.DateTimeField(null=True)),
                ("code", models.CharField(max_length=64)),
            ],
        ),
        migrations.CreateModel(
            name="Proposal",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.CharField(max_length=32, unique=True)),
                (
                    "evidence",
                    models.CharField(
                        choices=[
                            ("entry", "A line of the channel's statement"),
                            ("callback", "A message of the channel"),
                            ("word", "What somebody says"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        blank=True, help_text="which line or message, or who said it", max_length=100
                    ),
                ),
                ("channel_number", models.CharField(help_text="of the trade, at the channel", max_length=64)),
                ("amount", models.PositiveBigIntegerField(help_text="minor units")),
                ("currency", models.CharField(max_length=3)),
                ("paid_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(max_length=300)),
                ("asked_by", models.CharField(max_length=150)),
                ("decided_by", models.CharField(blank=True, max_length=150)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("WAITING", "Waits for a second person"),
                            ("APPROVED", "Approved"),
                            ("REJECTED", "Rejected"),
                        ],
                        default="WAITING",
                        max_length=10,
                    ),
                ),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("result", models.CharField(blank=True, max_length=40)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="RefusedCallback",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order_number", models.CharField(max_length=32)),
                ("channel", models.CharField(choices=payments.channels.registry.list_choices, max_length=10)),
                ("number", models.CharField(max_length=64)),
                ("reason", models.CharField(max_length=100)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.BinaryField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="StaffAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("order_number", models.CharField(blank=True, max_length=32)),
                ("action", models.CharField(max_length=40)),
                (
                    "subject",
                    models.CharField(help_text="public number of what it was done to", max_length=64),
                ),
                ("actor", models.CharField(max_length=150)),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("is_done", models.BooleanField(help_text="false: it was refused")),
                ("result", models.CharField(blank=True, max_length=300)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="Statement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("channel", models.CharField(choices=payments.channels.registry.list_choices, max_length=10)),
                ("day", models.DateField(help_text="of the channel's own calendar")),
                ("digest", models.CharField(help_text="SHA-256 of the file as it came", max_length=64)),
                (
                    "origin",
                    models.CharField(
                        choices=[("fetched", "From the channel"), ("file", "Given by hand")], max_length=10
                    ),
                ),
                ("given_by", models.CharField(blank=True, max_length=150)),
                ("entries", models.PositiveIntegerField()),
                ("is_current", models.BooleanField()),
                ("read_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("compared_at", models.DateTimeField(blank=True, null=True)),
                ("totals", models.JSONField(default=dict)),
            ],
            options={
                "ordering": ["-day", "channel", "-id"],
                "permissions": [
                    ("reconcile_statement", "Can take in statements, compare them and run safe repairs")
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="callback",
            options={
                "ordering": ["-id"],
                "permissions": [
                    ("view_raw_callback", "Can see messages of channels as they came"),
                    ("replay_callback", "Can take a kept message once more"),
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="case",
            options={
                "ordering": ["deadline"],
                "permissions": [("decide_case", "Can take, assign and resolve cases")],
            },
        ),
        migrations.AlterModelOptions(
            name="payment",
            options={
                "ordering": ["id"],
                "permissions": [
                    ("ask_payment", "Can ask the channel about a payment"),
                    ("close_payment", "Can close a payment at its channel"),
                    ("propose_settlement", "Can propose to settle a payment by evidence"),
                    ("approve_settlement", "Can approve what another proposed to settle"),
                    ("export_rows", "Can export orders, payments, refunds and differences"),
                ],
            },
        ),
        migrations.AlterModelOptions(
            name="refund",
            options={
                "ordering": ["id"],
                "permissions": [
                    ("ask_refund", "Can ask for a refund"),
                    ("approve_refund", "Can approve or reject what another wants to refund"),
                ],
            },
        ),
        migrations.AddField(
            model_name="refund",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RunSQL(ENDED, migrations.RunSQL.noop),
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
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="refund",
            name="kind",
            field=models.CharField(
                choices=[
                    ("AUTOMATIC", "Surplus or late money"),
                    ("ASKED", "Asked for"),
                    ("CONSOLE", "Made in the channel's own console"),
                    ("BY_HAND", "Paid back by hand"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("channel_number", ""), _negated=True),
                fields=["channel_number"],
                name="payment_of_trade",
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["status", "-id"], name="payment_by_status"),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["channel", "-id"], name="payment_by_channel"),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(fields=["created_at"], name="payment_by_date"),
        ),
        migrations.AddIndex(
            model_name="receipt",
            index=models.Index(fields=["channel_number"], name="receipt_of_trade"),
        ),
        migrations.AddIndex(
            model_name="receipt",
            index=models.Index(fields=["channel", "created_at"], name="receipt_by_date"),
        ),
        migrations.AddIndex(
            model_name="receipt",
            index=models.Index(
                condition=models.Q(("receipt_class__in", ["surplus", "late", "mismatch", "unmatched"])),
                fields=["receipt_class"],
                name="receipt_astray",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("channel_number", ""), _negated=True),
                fields=["channel_number"],
                name="refund_of_trade",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["status", "-id"], name="refund_by_status"),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["channel", "ended_at"], name="refund_by_end"),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(fields=["order_number", "id"], name="call_of_order"),
        ),
        migrations.AddIndex(
            model_name="call",
            index=models.Index(fields=["at"], name="call_at"),
        ),
        migrations.AddIndex(
            model_name="difference",
            index=models.Index(fields=["channel", "day"], name="difference_of_day"),
        ),
        migrations.AddIndex(
            model_name="difference",
            index=models.Index(fields=["number"], name="difference_of_number"),
        ),
        migrations.AddConstraint(
            model_name="difference",
            constraint=models.UniqueConstraint(
                condition=models.Q(("ended_at__isnull", True)),
                fields=("channel", "kind", "subject"),
                name="one_open_difference_per_subject",
            ),
        ),
        migrations.AddField(
            model_name="proposal",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="proposals", to="payments.payment"
            ),
        ),
        migrations.AddIndex(
            model_name="refusedcallback",
            index=models.Index(fields=["order_number", "id"], name="refused_of_order"),
        ),
        migrations.AddIndex(
            model_name="refusedcallback",
            index=models.Index(fields=["at"], name="refused_at"),
        ),
        migrations.AddIndex(
            model_name="staffaction",
            index=models.Index(fields=["order_number", "id"], name="action_of_order"),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(
                fields=("channel", "day", "digest"), name="one_row_per_statement_file"
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True)),
                fields=("channel", "day"),
                name="one_current_statement_per_day",
            ),
        ),
        migrations.AddField(
            model_name="entry",
            name="statement",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.CASCADE, to="payments.statement"
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by", ""),
                    ("status", "REJECTED"),
                    models.Q(("decided_by", models.F("asked_by")), _negated=True),
                    _connector="OR",
                ),
                name="nobody_agrees_with_themselves",
            ),
        ),
        migrations.AddConstraint(
            model_name="proposal",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "WAITING")),
                fields=("payment",),
                name="one_waiting_proposal_per_payment",
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=django.contrib.postgres.indexes.BrinIndex(
                autosummarize=True, fields=["statement"], name="entry_of_statement"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["channel_number"], name="entry_of_trade"),
        ),
        migrations.RunSQL(KEEP, LET_GO),
    ]
