"""Alarms: claimed once, come back by their schedule, survive a handler that fails."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from shop import alarms
from shop.alarms import Claim, claim_due, handle, hasten, postpone, set_alarm
from shop.models import Alarm

handled: list[Claim] = []
told: list[str] = []


def remember(claim: Claim) -> None:
    handled.append(claim)


def fail(claim: Claim) -> None:
    raise RuntimeError("poisoned")


def tell(claim: Claim, error: Exception) -> None:
    told.append(claim.subject)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch, settings):
    monkeypatch.setattr(alarms, "_kinds", {})
    settings.ALARM_FAILED = f"{__name__}.tell"
    handled.clear()
    told.clear()
    alarms.register("good", handler=f"{__name__}.remember", gaps_s=(10, 20, 60))
    alarms.register("bad", handler=f"{__name__}.fail", gaps_s=(10,))


def gap_s(alarm: Alarm) -> float:
    alarm.refresh_from_db()
    assert alarm.tried_at is not None
    return (alarm.due_at - alarm.tried_at).total_seconds()


@pytest.mark.django_db
def test_a_due_alarm_is_claimed_and_a_later_one_is_not():
    set_alarm("good", "due")
    set_alarm("good", "later", in_s=60)
    assert [claim.subject for claim in claim_due(10)] == ["due"]


@pytest.mark.django_db
def test_claiming_sets_the_next_moment_by_the_schedule():
    set_alarm("good", "x")
    alarm = Alarm.objects.get()
    gaps = []
    for _ in range(5):
        Alarm.objects.update(due_at=Now())
        assert claim_due(1)
        gaps.append(gap_s(alarm))
    assert gaps == [10, 20, 60, 60, 60]
    assert alarm.attempts == 5


@pytest.mark.django_db
def test_the_schedule_ends_with_one_claim_at_the_last_moment():
    set_alarm("good", "x")
    Alarm.objects.update(last_at=Now() + timedelta(seconds=4))
    alarm = Alarm.objects.get()
    assert not claim_due(1)[0].is_last
    assert gap_s(alarm) == pytest.approx(4, abs=1)
    Alarm.objects.update(due_at=Now(), last_at=Now())
    assert claim_due(1)[0].is_last
    assert gap_s(alarm) == alarms.AFTER_LAST_S


@pytest.mark.django_db
def test_one_alarm_for_each_thing_the_newest_time_counts():
    set_alarm("good", "x", in_s=60)
    set_alarm("good", "x")
    assert Alarm.objects.count() == 1
    assert claim_due(1)


@pytest.mark.django_db
def test_hasten_only_brings_forward_and_postpone_moves_on():
    set_alarm("good", "x", in_s=60)
    hasten("good", "x")
    assert len(claim_due(1)) == 1
    set_alarm("good", "x")
    hasten("good", "x", in_s=60)
    assert len(claim_due(1)) == 1
    set_alarm("good", "x")
    postpone("good", "x", by_s=60)
    assert claim_due(1) == []


@pytest.mark.django_db
def test_a_failing_handler_leaves_the_alarm_for_the_next_try():
    set_alarm("bad", "x")
    assert handle(claim_due(1)[0]) is False
    assert Alarm.objects.get().due_at > Alarm.objects.get().tried_at


def try_again(times: int) -> None:
    for _ in range(times):
        Alarm.objects.update(due_at=Now())
        handle(claim_due(1)[0])


@pytest.mark.django_db
def test_people_are_told_when_it_has_failed_five_times_in_a_row():
    set_alarm("bad", "x")
    try_again(4)
    assert told == []
    try_again(1)
    assert told == ["x"]


@pytest.mark.django_db
def test_failures_with_a_good_try_between_them_are_told_nobody(monkeypatch):
    set_alarm("bad", "x")
    try_again(4)
    with monkeypatch.context() as patched:
        patched.setitem(alarms._kinds, "bad", alarms._kinds["good"])
        try_again(1)
    assert Alarm.objects.get().failures == 0
    try_again(4)
    assert told == []


@pytest.mark.django_db
def test_people_are_told_at_once_when_the_last_try_fails():
    set_alarm("bad", "x", last_at=timezone.now())
    try_again(1)
    assert told == ["x"]


@pytest.mark.django_db
def test_a_message_handles_its_alarm_before_it_is_due():
    set_alarm("good", "x", in_s=60)
    alarms.handle_now("good", "x")
    assert [claim.attempt for claim in handled] == [1]


@pytest.mark.django_db
def test_a_message_for_a_finished_thing_does_nothing():
    alarms.handle_now("good", "gone")
    assert handled == []


@pytest.mark.django_db
def test_an_alarm_of_an_unknown_kind_is_left_for_a_newer_version_of_us():
    set_alarm("from the future", "x")
    assert claim_due(10) == []
    assert Alarm.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_claimers_share_the_work_without_claiming_twice():
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connection

    for n in range(60):
        set_alarm("good", str(n))

    def claim_all(_: int) -> list[str]:
        mine: list[str] = []
        while claims := claim_due(3):
            mine += [claim.subject for claim in claims]
        connection.close()
        return mine

    with ThreadPoolExecutor(4) as pool:
        claimed = [subject for mine in pool.map(claim_all, range(4)) for subject in mine]
    assert sorted(claimed) == sorted(str(n) for n in range(60))
