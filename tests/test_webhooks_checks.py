"""Settings of webhooks that are wrong are named before they do harm."""

import pytest

from shop.webhooks.checks import check_events_kept, check_operations_mail, check_webhooks


@pytest.mark.parametrize(
    ("networks", "mail", "ids"),
    [
        ([], "", []),
        (["10.1.2.0/24", "127.0.0.1/32", "fd00::/8"], "ops@example.com", []),
        (["10.1.2.3/24"], "", ["shop.E001"]),
        (["erp.internal"], "", ["shop.E001"]),
        (["0.0.0.0/0"], "", ["shop.E003"]),
        (["::/0"], "", ["shop.E003"]),
        ([], "ops", ["shop.E002"]),
    ],
    ids=["none", "right", "bits", "name", "everything", "everything of 6", "mail"],
)
def test_what_is_wrong_is_named_with_what_to_do(settings, networks, mail, ids):
    settings.WEBHOOK_ALLOWED_NETWORKS, settings.OPERATIONS_MAIL = networks, mail
    found = check_webhooks()
    assert [message.id for message in found] == ids
    assert all(message.hint for message in found)


@pytest.mark.parametrize(
    ("days", "ids"),
    [(-1, ["shop.E004"]), (0, ["shop.E004"]), (1, []), (90, []), (36_500, []), (36_501, ["shop.E004"])],
)
def test_events_are_kept_for_days_but_not_for_ever(settings, days, ids):
    settings.EVENTS_KEPT_DAYS = days
    found = check_events_kept()
    assert [message.id for message in found] == ids
    assert all(message.hint for message in found)


@pytest.mark.parametrize(("mail", "ids"), [("", ["shop.W001"]), ("ops@example.com", [])])
def test_somebody_should_be_told(settings, mail, ids):
    settings.OPERATIONS_MAIL = mail
    assert [message.id for message in check_operations_mail()] == ids
