"""Races of those who guard what is unfinished: clusters, scanners and watches, any number of each, and people."""

from collections import Counter
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.core import mail

from orders.moves import EXPIRE_ORDER
from payments.callbacks import TAKE_CALLBACK
from payments.cases import take_case
from payments.mailing import MAIL_RECEIPT
from payments.models import Case
from payments.moves import QUERY_PAYMENT
from payments.settling import FOLLOW_UP
from shop.alarms import Claim, claim_due, handle_now, set_alarm
from shop.models import Alarm
from tests.races.racing import names
from tests.races.world import CLOSED, PAID
from tests.redis_states import whatever_redis_does

pytestmark = [pytest.mark.django_db(transaction=True), whatever_redis_does]


def claim_all(limit: int) -> list[Claim]:
    """As a watch does: again and again, until nothing is due."""
    claims: list[Claim] = []
    while found := claim_due(limit):
        claims += found
    return claims


@pytest.mark.parametrize("limit", [7, 50])
def test_fifty_due_alarms_are_claimed_once_each_by_those_who_look_at_once(world, race, limit):
    subjects = [f"nobody{number}" for number in range(50)]
    for _ in race.rounds():
        for subject in subjects:
            set_alarm(EXPIRE_ORDER, subject)
        told = race(*[partial(claim_all, limit)] * 4)
        claims = [claim for each in told for claim in each]
        assert Counter(claim.subject for claim in claims) == Counter(subjects)
        assert {claim.attempt for claim in claims} == {1}
        Alarm.objects.all().delete()


def test_two_clusters_with_one_message_take_a_callback_once(world, race):
    for _ in race.rounds():
        order, payment, message = world.place_and_pay()
        kept = world.hear_too_early(payment, message)
        race(*[partial(handle_now, TAKE_CALLBACK, str(kept.pk))] * 2)
        world.check()
        assert world.look(order) == PAID


def test_two_clusters_with_one_message_ask_and_settle_once(world, race):
    for _ in race.rounds():
        order, payment, _ = world.place_and_pay()
        race(*[partial(handle_now, QUERY_PAYMENT, payment.number)] * 2)
        world.check()
        assert world.look(order) == PAID


def test_two_clusters_with_one_message_close_an_order_and_give_its_goods_back_once(world, race):
    for _ in race.rounds():
        order = world.place()
        world.apply(order)
        world.run_out(order)
        race(*[partial(handle_now, EXPIRE_ORDER, order.number)] * 2)
        world.check()
        assert world.look(order) == CLOSED


def test_two_clusters_with_one_message_follow_up_once_and_send_one_mail(world, race):
    for _ in race.rounds():
        order, _, message = world.place_and_pay()
        world.deliver(message)
        race(*[partial(handle_now, FOLLOW_UP, order.number)] * 2)
        race(*[partial(handle_now, MAIL_RECEIPT, order.number)] * 2)
        world.check()
        assert world.look(order) == PAID
        sent = [
            message.extra_headers["Message-ID"] for message in mail.outbox if order.number in message.subject
        ]
        # One that is sent twice is one for who reads it: it has one id.
        assert len(set(sent)) == 1


def test_of_two_people_one_takes_the_case(world, race):
    people = [User.objects.create(username=name) for name in ("bo", "cy")]
    for _ in race.rounds():
        _, payment, message = world.place_and_pay()
        receipt = world.tell_of_strange_money(payment, message)
        case = Case.objects.get(kind=Case.Kind.UNMATCHED, subject=receipt.channel_number)
        told = race(*(partial(take_case, case.pk, actor=person) for person in people))
        assert names(told) == {"Case": 1, "CaseIsTaken": 1}
        case.refresh_from_db()
        assert case.owner == people[0 if isinstance(told[0], Case) else 1]
        race.ended(case.owner.username, of=("bo", "cy"))
