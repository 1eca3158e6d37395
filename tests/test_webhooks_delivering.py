"""Delivering: in order within a stream, tried again for days, given up late, and calm while an endpoint fails."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models import F

from payments.audit import audit
from payments.cases import close_healed, resolve_case
from payments.errors import CaseStaysOpen
from payments.models import Case
from shop.alarms import TELL_EVERY, Claim, claim_webhook, handle, handle_now, set_alarm
from shop.business import event_fields
from shop.clock import read_now
from shop.models import Alarm, BusinessEvent, Delivery, Endpoint
from shop.webhooks import delivering
from shop.webhooks.delivering import GAPS_S, PATIENCE, hand_over, record, take_up
from shop.webhooks.endpoints import change_address, send_test
from shop.webhooks.errors import NothingToSend
from shop.webhooks.mailing import mail_by_alarm
from shop.webhooks.publishing import DELIVER, publish
from shop.webhooks.sending import Answer
from shop.webhooks.switching import (
    remove_endpoint,
    resend_dead,
    resend_delivery,
    switch_off_by_hand,
    switch_on,
)
from tests.listening import Listener, listening, status
from tests.telling import make_endpoint, pass_time, places, tell, work

pytestmark = pytest.mark.django_db(transaction=True)
WAITING, TAKEN, DEAD = Delivery.Status.WAITING, Delivery.Status.TAKEN, Delivery.Status.DEAD


@pytest.fixture
def receiver(settings) -> Iterator[Listener]:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with listening() as listener:
        yield listener


@pytest.fixture
def endpoint(receiver) -> Endpoint:
    return make_endpoint(receiver.url)


def statuses() -> list[str]:
    return list(Delivery.objects.order_by("event_id").values_list("status", flat=True))


def fail_until_dead(receiver: Listener) -> None:
    """The whole schedule, in moved time."""
    receiver.usual = status(500)
    for gap_s in (*GAPS_S, 0):
        work()
        pass_time(seconds=gap_s)
    receiver.usual = status(200)
    pass_time(minutes=5)


# ---- in order ----------------------------------------------------------------------------------------------------


def test_event_comes_once_with_its_id_and_the_one_shape_that_the_feed_has_too(receiver, endpoint):
    tell("N1")
    work()
    [letter] = receiver.letters
    event = BusinessEvent.objects.get()
    assert letter.headers["webhook-id"] == event.number
    assert json.loads(letter.body) == event_fields(event)
    assert statuses() == [TAKEN]
    assert not Alarm.objects.filter(kind=DELIVER).exists()


def test_events_of_a_stream_come_in_order(receiver, endpoint):
    tell("N1", "N2", "N1", "N1")
    work()
    came = places(receiver.ids())
    assert [place for place in came if place[0] == "N1"] == [("N1", 1), ("N1", 2), ("N1", 3)]
    assert len(came) == 4


def test_event_that_is_not_taken_holds_back_its_stream_and_no_other(receiver, endpoint):
    receiver.answers = [status(500)]
    tell("N1", "N1")
    work()
    tell("N2")
    work()
    assert places(receiver.ids()) == [("N1", 1), ("N2", 1)]
    pass_time(seconds=GAPS_S[0])
    work()
    assert places(receiver.ids())[2:] == [("N1", 1), ("N1", 2)]


def test_each_endpoint_has_what_it_wants_and_its_own_pace(receiver, endpoint):
    with listening() as other:
        make_endpoint(other.url, types=["order.shipped"])
        receiver.usual = status(500)
        tell("N1")
        tell("N1", event_type="order.shipped")
        work()
        assert places(other.ids()) == [("N1", 2)]
        assert statuses().count(WAITING) == 2


def test_slow_handler_whose_alarm_was_claimed_again_reorders_nothing(receiver, endpoint):
    tell("N1", "N1")
    slow = claim_webhook()
    parcel = take_up(slow)
    pass_time(seconds=delivering.LEASE_S)
    work()
    record(slow, parcel, hand_over(parcel))
    work()
    assert places(receiver.ids()) == [("N1", 1), ("N1", 2), ("N1", 1)]
    assert statuses() == [TAKEN, TAKEN]


def test_handler_that_lost_its_alarm_before_it_began_sends_nothing(receiver, endpoint):
    tell("N1")
    slow = claim_webhook()
    pass_time(seconds=delivering.LEASE_S)
    work()
    assert handle(slow)
    assert len(receiver.letters) == 1


def test_claim_that_is_not_the_latest_takes_nothing_up(receiver, endpoint):
    """The stream still waits, so that only the fence keeps the slow one from sending beside the other."""
    tell("N1")
    slow = claim_webhook()
    pass_time(seconds=delivering.LEASE_S)
    latest = claim_webhook()
    assert take_up(slow) is None
    assert take_up(latest) is not None


def test_who_lost_the_alarm_does_not_move_that_of_who_has_it(receiver, endpoint):
    tell("N1", "N1")
    slow = claim_webhook()
    parcel = take_up(slow)
    pass_time(seconds=delivering.LEASE_S)
    latest = claim_webhook()
    record(slow, parcel, hand_over(parcel))
    assert Alarm.objects.get(kind=DELIVER).due_at == latest.due_at


def test_death_between_sending_and_writing_down_sends_it_again_under_the_same_id(receiver, endpoint):
    tell("N1", "N1")
    hand_over(take_up(claim_webhook()))
    pass_time(seconds=delivering.LEASE_S)
    work()
    assert places(receiver.ids()) == [("N1", 1), ("N1", 1), ("N1", 2)]


# ---- tried again -------------------------------------------------------------------------------------------------


def test_tries_come_by_the_schedule(receiver, endpoint):
    receiver.usual = status(503)
    tell("N1")
    for tries, gap_s in enumerate(GAPS_S, start=1):
        work()
        assert len(receiver.letters) == tries
        pass_time(seconds=gap_s - 3)
        Endpoint.objects.update(rests_until=None)
        work()
        assert len(receiver.letters) == tries
        pass_time(seconds=3)
    assert statuses() == [WAITING]


def test_alarm_that_comes_early_spends_no_try(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1")
    work()
    for _ in range(20):
        set_alarm(DELIVER, f"{endpoint.pk}:N1")
        work()
    assert len(receiver.letters) == 1


def test_event_is_given_up_after_its_schedule_and_the_next_one_goes(receiver, endpoint):
    tell("N1", "N1")
    fail_until_dead(receiver)
    work()
    assert statuses() == [DEAD, TAKEN]
    assert places(receiver.ids())[-1] == ("N1", 2)


def test_event_is_not_given_up_before_its_time_has_really_passed(receiver, endpoint):
    tell("N1")
    Delivery.objects.update(tries=len(GAPS_S) + 5, first_tried_at=read_now() - timedelta(days=2))
    receiver.usual = status(500)
    work()
    assert statuses() == [WAITING]


def test_event_is_not_given_up_by_an_outage_of_our_own(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1")
    work()
    pass_time(days=30)
    work()
    assert statuses() == [WAITING]


# ---- an endpoint that fails --------------------------------------------------------------------------------------


def test_endpoint_that_fails_again_and_again_is_tried_by_one_message_at_a_time(receiver, endpoint):
    receiver.usual = status(500)
    tell(*(f"N{nth}" for nth in range(40)))
    work()
    assert len(receiver.letters) == 3
    for tried in range(4, 8):
        pass_time(minutes=5)
        work()
        assert len(receiver.letters) == tried


def test_probe_under_way_keeps_everything_else_back(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1", "N2", "N3", "N4", "N5")
    work()
    pass_time(minutes=5)
    assert take_up(claim_webhook()) is not None
    work()
    assert len(receiver.letters) == 3


def test_everything_flows_at_once_when_the_endpoint_is_well_again(receiver, endpoint):
    receiver.usual = status(500)
    tell(*(f"N{nth:02}" for nth in range(40)))
    work()
    receiver.usual = status(200)
    pass_time(minutes=5)
    work()
    assert statuses() == [TAKEN] * 40
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.failures, endpoint.rests_until) == (None, 0, None)


def test_one_event_that_is_refused_gives_the_endpoint_no_rest(receiver, endpoint):
    def answer(line) -> None:
        body = json.loads(receiver.letters[-1].body)
        line.sendall(status(500 if body["order"] == "BAD" else 200))

    receiver.usual = answer
    tell("BAD")
    for nth in range(len(GAPS_S)):
        work()
        tell(f"N{nth}")
        work()
        pass_time(seconds=GAPS_S[nth])
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.off_at) == (None, None)
    assert statuses().count(TAKEN) == len(GAPS_S)


# ---- switched off ------------------------------------------------------------------------------------------------


def test_endpoint_that_took_nothing_for_five_days_is_switched_off_and_people_are_told(
    receiver, endpoint, settings, mailoutbox
):
    settings.OPERATIONS_MAIL = "ops@example.com"
    receiver.usual = status(500)
    for day in range(6):
        tell(f"N{day}")
        work()
        pass_time(days=1)
        work()
    endpoint.refresh_from_db()
    assert endpoint.off_why == Endpoint.OffWhy.FAILING
    case = Case.objects.get(kind="webhook")
    assert (case.subject, case.evidence["off"]) == (endpoint.number, "FAILING")
    handle_now("mail_endpoint", endpoint.number)
    [mail] = mailoutbox
    assert "Webhooks to 127.0.0.1 are switched off" in mail.subject
    assert mail.to == ["ops@example.com"]
    assert "messages wait, 0 were given up" in mail.body
    assert "/hooks" not in mail.body
    assert not Alarm.objects.filter(kind="mail_endpoint").exists()


def test_endpoint_that_was_switched_off_by_hand_is_mailed_and_opened_to_nobody(receiver, endpoint):
    switch_off_by_hand(endpoint.number)
    assert not Case.objects.exists()
    assert not Alarm.objects.exists()


def test_no_mail_about_an_endpoint_that_is_on_again(receiver, endpoint, settings, mailoutbox):
    settings.OPERATIONS_MAIL = "ops@example.com"
    receiver.usual = status(410)
    tell("N1")
    work()
    claim = Claim(kind="mail_endpoint", subject=endpoint.number, attempt=1, is_last=False, due_at=read_now())
    switch_on(endpoint.number)
    mail_by_alarm(claim)
    assert mailoutbox == []


def test_first_failure_after_a_quiet_time_is_no_failing_for_days(receiver, endpoint):
    receiver.answers = [status(500)]
    tell("N1")
    work()
    Delivery.objects.all().delete()
    pass_time(days=10)
    receiver.answers = [status(500)]
    tell("N2")
    work()
    endpoint.refresh_from_db()
    assert endpoint.off_at is None


def test_receiver_that_says_gone_is_switched_off_at_once(receiver, endpoint):
    receiver.usual = status(410)
    tell("N1")
    work()
    endpoint.refresh_from_db()
    assert endpoint.off_why == Endpoint.OffWhy.GONE
    assert Case.objects.filter(kind="webhook", resolved_at__isnull=True).exists()


def test_what_happens_while_it_is_off_is_kept_and_sent_in_order_when_it_is_on(receiver, endpoint):
    switch_off_by_hand(endpoint.number)
    tell("N1", "N1")
    tell("N2")
    assert work() != []
    assert receiver.letters == []
    assert switch_on(endpoint.number) == 3
    work()
    assert [place for place in places(receiver.ids()) if place[0] == "N1"] == [("N1", 1), ("N1", 2)]
    assert statuses() == [TAKEN] * 3


def test_what_was_nearly_given_up_has_all_its_tries_before_it_when_it_is_switched_on(receiver, endpoint):
    tell("N1")
    Delivery.objects.update(tries=13, first_tried_at=read_now() - timedelta(days=9), tried_at=read_now())
    switch_off_by_hand(endpoint.number)
    switch_on(endpoint.number)
    receiver.usual = status(500)
    work()
    assert statuses() == [WAITING]
    assert len(receiver.letters) == 1


def test_case_about_an_endpoint_that_is_off_is_not_resolved_by_a_word(receiver, endpoint, admin_user):
    receiver.usual = status(410)
    tell("N1")
    work()
    case = Case.objects.get(kind="webhook")
    with pytest.raises(CaseStaysOpen):
        resolve_case(case.pk, actor=admin_user, resolution="never mind")
    receiver.usual = status(200)
    switch_on(endpoint.number)
    work()
    case.refresh_from_db()
    assert case.resolved_at is not None


# ---- given up ----------------------------------------------------------------------------------------------------


def test_case_says_how_many_were_given_up_and_closes_when_they_are_taken(receiver, endpoint):
    tell("N1", "N2")
    for stream in ("N1", "N2"):
        delivery = Delivery.objects.get(event__stream=stream)
        old = read_now() - timedelta(days=9)
        Delivery.objects.filter(pk=delivery.pk).update(tries=20, first_tried_at=old, tried_at=old)
    receiver.answers = [status(500)] * 2
    work()
    case = Case.objects.get(kind="webhook")
    assert case.evidence["given_up"] == 2
    resend_delivery(Delivery.objects.get(event__stream="N1").pk)
    work()
    case.refresh_from_db()
    assert case.resolved_at is None
    assert resend_dead(endpoint.number) == 1
    work()
    case.refresh_from_db()
    assert case.resolved_at is not None
    assert statuses() == [TAKEN, TAKEN]


@pytest.fixture
def resting(receiver, endpoint) -> Endpoint:
    """It failed again and again, and is left alone for a while; by now it would take what it is sent."""
    receiver.usual = status(500)
    tell("N1", "N2", "N3", "N4")
    work()
    tell("N1")
    receiver.usual = status(200)
    receiver.letters.clear()
    return endpoint


def test_event_that_a_person_sends_now_goes_at_once_though_its_endpoint_rests(receiver, resting):
    head = Delivery.objects.filter(event__stream="N1").earliest("event__sequence")
    resend_delivery(head.pk)
    work()
    assert places(receiver.ids())[0] == ("N1", 1)


def test_event_that_a_person_sends_now_brings_everything_else_when_it_is_taken(receiver, resting):
    Delivery.objects.filter(tries__gt=0).update(tries=len(GAPS_S))
    Alarm.objects.filter(kind=DELIVER).update(due_at=read_now() + timedelta(days=1))
    resend_delivery(Delivery.objects.filter(event__stream="N1").earliest("event__sequence").pk)
    work()
    pass_time(minutes=2)
    work()
    assert statuses() == [TAKEN] * 5


def test_event_behind_another_is_not_sent_now_but_names_which_goes_first(receiver, resting):
    behind = Delivery.objects.filter(event__stream="N1").latest("event__sequence")
    first = BusinessEvent.objects.get(stream="N1", sequence=1)
    with pytest.raises(NothingToSend, match=first.number):
        resend_delivery(behind.pk)
    work()
    assert receiver.letters == []


def test_event_that_was_given_up_goes_before_what_waits_behind_it(receiver, resting):
    head = Delivery.objects.filter(event__stream="N1").earliest("event__sequence")
    Delivery.objects.filter(pk=head.pk).update(status=DEAD, ended_at=read_now())
    resend_delivery(head.pk)
    work()
    assert places(receiver.ids())[0] == ("N1", 1)


def test_only_what_was_given_up_since_a_time_is_sent_again(receiver, endpoint):
    tell("N1", "N2")
    Delivery.objects.update(status=DEAD, ended_at=read_now())
    Delivery.objects.filter(event__stream="N1").update(ended_at=read_now() - timedelta(days=2))
    assert resend_dead(endpoint.number, since=read_now() - timedelta(days=1)) == 1
    work()
    assert statuses() == [DEAD, TAKEN]


# ---- handlers that fail ------------------------------------------------------------------------------------------


def fail_all_of(monkeypatch, *streams: str, times: int) -> None:
    """The handler breaks off for whatever waits there, as by a bug of ours."""

    def break_off(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(delivering, "take_up", break_off)
        for stream in streams:
            for _ in range(times):
                handle_now(DELIVER, f"{Endpoint.objects.get().pk}:{stream}")


def test_alarms_that_fail_for_many_streams_open_one_case_about_their_endpoint(endpoint, monkeypatch):
    tell("N1", "N2", "N3")
    fail_all_of(monkeypatch, "N1", "N2", "N3", times=TELL_EVERY)
    case = Case.objects.get()
    assert (case.kind, case.subject) == (Case.Kind.FAILING, endpoint.number)


def test_case_about_failing_alarms_closes_when_the_last_of_them_goes_well(endpoint, monkeypatch, admin_user):
    tell("N1", "N2")
    fail_all_of(monkeypatch, "N1", "N2", times=TELL_EVERY)
    case = Case.objects.get()
    handle_now(DELIVER, f"{endpoint.pk}:N1")
    assert close_healed() == 0
    with pytest.raises(CaseStaysOpen):
        resolve_case(case.pk, actor=admin_user, resolution="never mind")
    handle_now(DELIVER, f"{endpoint.pk}:N2")
    assert close_healed() == 1


def test_case_about_an_endpoint_stands_in_the_feed_and_is_sent_to_no_endpoint(receiver, endpoint):
    receiver.usual = status(410)
    tell("N1")
    work()
    publish()
    opened = BusinessEvent.objects.get(type="case.opened")
    assert (opened.subject, opened.position) == (endpoint.number, 2)
    assert not Delivery.objects.filter(event=opened).exists()
    assert [found for found in audit() if opened.number in (found.subject, found.detail)] == []


# ---- and the rest ------------------------------------------------------------------------------------------------


def test_removed_endpoint_gets_nothing_and_its_secrets_are_erased(receiver, endpoint):
    tell("N1")
    remove_endpoint(endpoint.number)
    tell("N2")
    assert work() == []
    endpoint.refresh_from_db()
    assert (endpoint.secret, endpoint.old_secret) == ("", "")
    assert (receiver.letters, statuses()) == ([], [DEAD])


def test_what_waits_goes_to_the_new_address_at_once(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1")
    for gap_s in (*GAPS_S[:8], 600):
        work()
        pass_time(seconds=gap_s)
    assert Alarm.objects.get(kind=DELIVER).due_at > read_now() + timedelta(hours=7)
    with listening() as other:
        assert change_address(endpoint.number, other.url) == receiver.url
        work()
        assert places(other.ids()) == [("N1", 1)]


def test_what_waits_has_all_its_tries_before_it_at_a_new_address(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1")
    work()
    Delivery.objects.update(tries=len(GAPS_S), first_tried_at=F("first_tried_at") - PATIENCE)
    with listening() as other:
        other.usual = status(500)
        change_address(endpoint.number, other.url)
        work()
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.tries) == ("WAITING", 1)


@pytest.mark.parametrize("code", [410, 500])
def test_answer_of_the_former_address_counts_for_nothing_and_the_new_one_is_asked_at_once(
    receiver, endpoint, code
):
    receiver.usual = status(code)
    tell("N1")
    claim = claim_webhook()
    parcel = take_up(claim)
    answer = hand_over(parcel)
    with listening() as other:
        change_address(endpoint.number, other.url)
        record(claim, parcel, answer)
        endpoint.refresh_from_db()
        assert (endpoint.off_at, endpoint.failing_since) == (None, None)
        assert Delivery.objects.get().answer == str(code)
        work()
        assert places(other.ids()) == [("N1", 1)]


def test_message_that_is_a_test_ends_a_failing(receiver, endpoint):
    receiver.usual = status(500)
    tell("N1", "N2", "N3", "N4")
    work()
    receiver.usual = status(200)
    assert send_test(endpoint.number) == Answer(200)
    assert json.loads(receiver.letters[-1].body)["type"] == "webhook.test"
    work()
    assert TAKEN in statuses()
