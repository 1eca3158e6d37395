"""The three groups of staff, as the migration makes them: what each may do stands here, and nothing else."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import QuerySet

pytestmark = pytest.mark.django_db

MAY: dict[str, set[str]] = {
    "Viewer": set(),
    "Support": {
        "orders.cancel_order",
        "orders.ship_order",
        "orders.resend_receipt",
        "payments.ask_payment",
        "payments.close_payment",
        "payments.propose_settlement",
        "payments.replay_callback",
        "payments.ask_refund",
        "payments.decide_case",
        "payments.export_rows",
    },
    "Finance": {
        "payments.ask_payment",
        "payments.propose_settlement",
        "payments.approve_settlement",
        "payments.ask_refund",
        "payments.approve_refund",
        "payments.view_raw_callback",
        "payments.replay_callback",
        "payments.decide_case",
        "payments.reconcile_statement",
        "payments.export_rows",
    },
}
SEEN = ("orders", "payments", "shop")


def named(permissions: QuerySet[Permission]) -> set[str]:
    return {f"{app}.{name}" for app, name in permissions.values_list("content_type__app_label", "codename")}


@pytest.mark.parametrize("name", MAY)
def test_group_sees_everything_and_may_do_what_the_table_says_and_nothing_else(name):
    seen = Permission.objects.filter(codename__startswith="view_", content_type__app_label__in=SEEN)
    everything = named(seen.exclude(codename="view_raw_callback"))
    assert {"orders.view_order", "payments.view_proposal", "shop.view_event"} <= everything
    assert named(Group.objects.get(name=name).permissions.all()) == MAY[name] | everything


def test_every_permission_of_ours_is_somebodys():
    ours = named(Permission.objects.filter(content_type__app_label__in=("orders", "payments")))
    usual = {name for name in ours if name.split(".")[1].startswith(("add_", "change_", "delete_", "view_"))}
    assert ours - usual == set().union(*MAY.values()) - {"payments.view_raw_callback"}
    assert "payments.view_raw_callback" in ours


def test_groups_are_made_in_a_database_that_has_no_permissions_yet_and_taken_back():
    migrate("0007_back_office")
    assert not Group.objects.filter(name__in=MAY).exists()
    Permission.objects.all().delete()
    migrate("0008_groups")
    assert named(Group.objects.get(name="Finance").permissions.all()) >= MAY["Finance"]


def migrate(name: str) -> None:
    MigrationExecutor(connection).migrate([("payments", name)])
