"""The order's token: signed, at an end some day, revoked by the next; and what a browser keeps that has come by it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from orders.access import (
    find_order,
    is_shopper,
    is_token_of,
    link_ends_at,
    remember,
    remember_link,
    renew_link,
    token_of,
)
from orders.errors import OrderNotFound
from orders.models import Order
from shop.languages import speaking
from shop.models import Event, Source
from tests.factories import make_order

pytestmark = pytest.mark.django_db


def end_link(order: Order) -> Order:
    """Long ago."""
    Order.objects.filter(pk=order.pk).update(link_since=timezone.now() - timedelta(days=181))
    order.refresh_from_db()
    return order


def test_order_keeps_the_language_that_it_was_placed_in():
    with speaking("zh-hans"):
        assert make_order().language == "zh-hans"
    with speaking("en"):
        assert Order.objects.get(pk=make_order().pk).language == "en"


def test_order_of_another_language_is_told_about_in_english():
    with speaking("pt"):
        assert make_order().language == "en"


def test_token_counts_until_its_link_ends(settings):
    order = make_order()
    assert link_ends_at(order) - order.created_at == timedelta(days=settings.ORDER_LINK_DAYS)
    assert is_token_of(order, token_of(order))
    assert not is_token_of(end_link(order), token_of(order))


def test_new_link_takes_the_place_of_the_old_one():
    order = make_order()
    renewed = renew_link(order.number, actor="sue", source=Source.STAFF)
    assert not is_token_of(renewed, token_of(order))
    assert find_order(order.number, token=token_of(renewed)) == order


def test_new_link_lives_anew():
    order = end_link(make_order())
    renewed = renew_link(order.number)
    assert is_token_of(renewed, token_of(renewed))
    assert renewed.link_since > order.link_since


def test_new_link_stands_in_the_history_with_who_made_it():
    order = make_order()
    renew_link(order.number, actor="sue", source=Source.STAFF)
    event = Event.objects.get(subject_kind="link", order_number=order.number)
    assert (event.to_status, event.source, event.actor) == ("RENEWED", "STAFF", "sue")


def test_order_that_is_not_there_gets_no_link():
    with pytest.raises(OrderNotFound):
        renew_link("N000000000000000")


def test_token_of_an_earlier_secret_counts_while_that_is_named(settings):
    order, secret = make_order(), settings.SECRET_KEY
    token = token_of(order)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another", [secret]
    assert is_token_of(order, token)
    settings.SECRET_KEY_FALLBACKS = []
    assert not is_token_of(order, token)


def test_browser_that_placed_the_order_keeps_it_whatever_becomes_of_the_link():
    order, session = make_order(), {}
    remember(session, order)
    assert is_shopper(renew_link(order.number), session=session)
    assert is_shopper(end_link(order), session=session)


def test_browser_that_opened_the_link_loses_the_order_with_it():
    order, session = make_order(), {}
    remember_link(session, order)
    assert is_shopper(order, session=session)
    assert not is_shopper(renew_link(order.number), session=session)


def test_browser_that_opened_the_link_loses_the_order_when_it_ends():
    order, session = make_order(), {}
    remember_link(session, order)
    assert not is_shopper(end_link(order), session=session)


@pytest.mark.parametrize("token", ["", "x", "A" * 27])
def test_stranger_costs_the_same_statements_whether_or_not_there_is_an_order(
    token, django_assert_num_queries
):
    for number in (make_order().number, "N000000000000000"):
        with django_assert_num_queries(1), pytest.raises(OrderNotFound):
            find_order(number, token=token, session={})
