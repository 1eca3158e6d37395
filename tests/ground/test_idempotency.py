"""Idempotency keys: leases, their fencing, and what is kept."""

import hashlib
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from shop.idempotency import (
    InProgress,
    Key,
    KeyMismatch,
    Lease,
    Made,
    claim_key,
    end_lease,
    find_made,
    forget_old,
    key_of,
    let_go,
    name_subject,
    read_subject,
    take_lease,
)
from shop.models import IdempotencyKey

pytestmark = pytest.mark.django_db
KEY = Key("payments:N1", "k1", "body")


def lease() -> Lease:
    taken = take_lease(KEY, status=201)
    assert isinstance(taken, Lease)
    return taken


def run_out() -> None:
    IdempotencyKey.objects.update(lease_until=Now() - timedelta(seconds=1))


def test_while_one_works_the_others_are_told_so():
    lease()
    with pytest.raises(InProgress):
        take_lease(KEY, status=201)


def test_another_body_is_refused_while_one_works_and_afterwards():
    held = lease()
    other = Key(KEY.scope, KEY.key, "other")
    with pytest.raises(KeyMismatch):
        take_lease(other, status=201)
    run_out()
    with pytest.raises(KeyMismatch):
        take_lease(other, status=201)
    assert IdempotencyKey.objects.get().body_hash == held.key.body_hash


def test_what_was_made_is_answered_with_the_first_status():
    held = lease()
    name_subject(held, "P1", status=200)
    end_lease(held)
    assert take_lease(KEY, status=201) == Made("P1", 200)


def test_another_takes_over_after_the_lease_with_what_was_begun():
    name_subject(lease(), "P1", status=201)
    run_out()
    taken = lease()
    assert (taken.subject, taken.status) == ("P1", 201)


def test_who_slept_over_the_lease_names_ends_and_undoes_nothing():
    slept = lease()
    run_out()
    taken = lease()
    with pytest.raises(InProgress):
        name_subject(slept, "P1", status=201)
    let_go(slept)
    end_lease(slept)
    assert read_subject(slept) == ""
    name_subject(taken, "P2", status=201)
    end_lease(taken)
    assert take_lease(KEY, status=201) == Made("P2", 201)


def test_work_that_made_nothing_leaves_no_key():
    let_go(lease())
    assert not IdempotencyKey.objects.exists()


def test_work_that_failed_halfway_may_be_taken_up_at_once():
    held = lease()
    name_subject(held, "P1", status=201)
    let_go(held)
    assert lease().subject == "P1"


def test_end_without_a_subject_is_no_end():
    held = lease()
    end_lease(held)
    assert IdempotencyKey.objects.get().lease_until is not None


def test_key_is_bound_once():
    assert claim_key(KEY, subject="N1", status=201) is None
    assert claim_key(KEY, subject="N2", status=201) == Made("N1", 201)
    assert find_made(KEY) == Made("N1", 201)


def test_keys_are_forgotten_after_a_month():
    claim_key(KEY, subject="N1", status=201)
    assert forget_old() == 0
    IdempotencyKey.objects.update(created_at=Now() - timedelta(days=31))
    assert forget_old() == 1


def test_only_a_keyed_hash_of_the_body_is_kept_and_known_by_an_earlier_key_of_ours(settings):
    """A body may hold a tax number, of which there are few enough to try all."""
    earlier = key_of("payments:N1", "k1", "body")
    assert earlier.body_hash != hashlib.sha256(b"body").hexdigest()
    claim_key(earlier, subject="N1", status=201)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the later one", [settings.SECRET_KEY]
    later = key_of("payments:N1", "k1", "body")
    assert later.body_hash != earlier.body_hash
    assert find_made(later) == take_lease(later, status=201) == Made("N1", 201)
    with pytest.raises(KeyMismatch):
        find_made(key_of("payments:N1", "k1", "another"))


def test_lease_of_a_body_known_by_an_earlier_key_is_taken_over(settings):
    take_lease(key_of("payments:N1", "k1", "body"), status=201)
    run_out()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the later one", [settings.SECRET_KEY]
    assert isinstance(take_lease(key_of("payments:N1", "k1", "body"), status=201), Lease)
