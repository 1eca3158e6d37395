"""The same order twice: refused for a while, whatever Redis does, and never in the way of who means it."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F

from orders import duplicates
from orders.errors import DuplicateOrder, OutOfStock
from orders.models import Order, Product
from orders.moves import close_order, lock_order
from orders.placing import Contact, Item, place_once, place_order
from orders.statuses import CloseReason
from shop import hints
from shop.events import record
from shop.idempotency import InProgress, Key, KeyMismatch
from shop.models import IdempotencyKey, Source
from shop.transactions import transactional
from tests.factories import ANNA, make_product
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]
ONE = [Item("tea", 1)]


@pytest.fixture(autouse=True)
def tea() -> Product:
    """Something to order."""
    return make_product()


def place(*, again: bool = False) -> Order:
    return place_order(ONE, ANNA, again=again)


@transactional
def close(order: Order) -> None:
    record([close_order(lock_order(order.number), CloseReason.CANCELLED, source=Source.SHOPPER)])


def test_same_content_is_refused_by_the_number_of_the_first_and_takes_no_stock(tea):
    first = place()
    for _ in range(3):
        with pytest.raises(DuplicateOrder) as refused:
            place()
        assert refused.value.number == first.number
    tea.refresh_from_db()
    assert (Order.objects.count(), tea.stock) == (1, 9)


def test_who_means_it_orders_the_same_again():
    assert place().number != place(again=True).number


def test_two_of_a_thing_are_not_one_of_it():
    place()
    place_order([Item("tea", 2)], ANNA)
    assert Order.objects.count() == 2


@pytest.mark.parametrize("field", ["name", "email", "phone", "address"])
def test_another_buyer_or_address_is_another_order(field):
    place()
    other = {"name": "Anna", "email": "b@example.com", "phone": "2", "address": "elsewhere"}
    place_order(ONE, Contact(**(vars_of(ANNA) | {field: other[field]})))
    assert Order.objects.count() == 2


def test_blanks_and_case_of_the_form_make_no_other_order():
    place()
    typed = {name: f"  {text.upper()} " for name, text in vars_of(ANNA).items()}
    with pytest.raises(DuplicateOrder):
        place_order(ONE, Contact(**(typed | {"email": ANNA.email.upper()})))


def test_order_that_was_given_up_is_nobodys_duplicate():
    close(place())
    place()
    with pytest.raises(DuplicateOrder):
        place()


def test_after_the_window_the_same_is_a_new_wish(settings):
    first = place()
    Order.objects.update(created_at=F("created_at") - timedelta(seconds=settings.DUPLICATE_WINDOW_S + 1))
    assert place().number != first.number


def test_without_a_window_every_order_is_taken(settings):
    settings.DUPLICATE_WINDOW_S = 0
    assert place().number != place().number


def test_order_that_could_not_be_placed_is_in_nobodys_way(tea):
    Product.objects.update(stock=0)
    with pytest.raises(OutOfStock):
        place()
    Product.objects.update(stock=1)
    assert place().number


def test_claim_of_an_order_that_could_not_be_placed_is_given_up(redis_state):
    Product.objects.update(stock=0)
    with pytest.raises(OutOfStock):
        place()
    ours = Order(content_hash=duplicates.content_hash({"tea": 1}, ANNA))
    assert hints.claim(duplicates._name(ours), "anybody", for_s=5) is None


@pytest.mark.parametrize("value", ["nonsense", "a\0b", "\ud800"])
def test_nonsense_in_redis_is_in_nobodys_way(value):
    ours = Order(content_hash=duplicates.content_hash({"tea": 1}, ANNA))
    raw = value.encode("utf-8", "surrogatepass")
    hints.ask_redis(lambda client: client.set(hints.full_name(duplicates._name(ours)), raw, px=60_000))
    first = place()
    with pytest.raises(DuplicateOrder) as refused:
        place()
    assert refused.value.number == first.number


def test_redis_that_has_forgotten_changes_nothing(redis_state):
    first = place()
    hints.release(duplicates._name(first), first.number)
    with pytest.raises(DuplicateOrder) as refused:
        place()
    assert refused.value.number == first.number


def test_claim_of_somebody_who_died_holds_nobody_up_for_long(redis_state, monkeypatch):
    monkeypatch.setattr(duplicates, "WAIT_S", 0.2)
    ghost = Order(number="N" + "0" * 15, content_hash=duplicates.content_hash({"tea": 1}, ANNA))
    hints.claim(duplicates._name(ghost), ghost.number, for_s=60)
    first = place()
    with pytest.raises(DuplicateOrder) as refused:
        place()
    assert refused.value.number == first.number


def test_number_in_redis_that_is_of_another_order_is_not_believed(redis_state):
    other = place_order([Item("tea", 3)], ANNA)
    ours = Order(content_hash=duplicates.content_hash({"tea": 1}, ANNA))
    hints.claim(duplicates._name(ours), other.number, for_s=60)
    assert place().number != other.number


# ---- by its key --------------------------------------------------------------------------------------------------

KEY = Key("orders", "k1", "body")


def test_repeat_of_a_key_is_the_order_that_it_has_made(tea):
    first, again = place_once(KEY, ONE, ANNA), place_once(KEY, ONE, ANNA)
    assert (first.is_replay, again.is_replay) == (False, True)
    assert first.order.number == again.order.number
    tea.refresh_from_db()
    assert tea.stock == 9


def test_repeat_finds_its_order_also_after_the_goods_are_gone(tea):
    first = place_once(KEY, ONE, ANNA)
    Product.objects.update(stock=0)
    assert place_once(KEY, ONE, ANNA).order == first.order


def test_key_with_another_body_is_refused():
    place_once(KEY, ONE, ANNA)
    with pytest.raises(KeyMismatch):
        place_once(Key("orders", "k1", "other"), [Item("tea", 2)], ANNA)
    assert Order.objects.count() == 1


def test_key_of_another_scope_is_another_key():
    place_once(KEY, ONE, ANNA)
    assert not place_once(Key("form:x", "k1", "body"), ONE, ANNA, again=True).is_replay


def test_another_key_does_not_make_the_same_order_another():
    place_once(KEY, ONE, ANNA)
    with pytest.raises(DuplicateOrder):
        place_once(Key("orders", "k2", "body"), ONE, ANNA)
    assert IdempotencyKey.objects.count() == 1


def test_request_that_was_refused_leaves_no_key_and_may_come_again(tea):
    Product.objects.update(stock=0)
    with pytest.raises(OutOfStock):
        place_once(KEY, ONE, ANNA)
    assert not IdempotencyKey.objects.exists()
    Product.objects.update(stock=1)
    assert not place_once(KEY, ONE, ANNA).is_replay


def test_rival_with_the_same_key_waits_only_for_the_lock_timeout(redis_state):
    inserted, let_go = threading.Event(), threading.Event()

    def dawdle() -> None:
        with transaction.atomic():
            IdempotencyKey.objects.create(
                scope="orders", key="k1", body_hash="body", subject="N1", status=201
            )
            inserted.set()
            let_go.wait(8)
            transaction.set_rollback(True)
        connection.close()

    rival = threading.Thread(target=dawdle)
    rival.start()
    inserted.wait(5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("set lock_timeout = '200ms'")
        with pytest.raises(InProgress):
            place_once(KEY, ONE, ANNA)
    finally:
        let_go.set()
        rival.join()
        connection.close()
    assert not place_once(KEY, ONE, ANNA).is_replay


def vars_of(contact: Contact) -> dict[str, str]:
    return {name: getattr(contact, name) for name in ("name", "email", "phone", "address")}
