"""`manage.py doctor`: what is wrong is named, with what to do about it, and nothing is changed."""

import json
import re
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from payments import doctor
from payments.channels.base import Outcome
from payments.doctor import Finding, Verdict, examine
from payments.settling import settle_payment
from shop import watch
from shop.beats import beat
from shop.models import Heartbeat, Source
from tests.factories import make_order, make_payment, report
from tests.redis_states import refuse_connections

pytestmark = pytest.mark.django_db(transaction=True)


def find(subject: str) -> Finding:
    return next(finding for finding in examine() if finding.subject == subject)


@pytest.fixture
def guarded(sandbox: Any, settings: Any) -> None:
    """The guardians have been heard just now, on a developer's machine."""
    settings.DEBUG = True
    beat("watch here 1")
    beat("cluster")
    watch.keep_schedules()


def test_shop_in_order_is_fine_in_every_respect(guarded, capsys):
    call_command("doctor")
    out = capsys.readouterr().out
    assert "WRONG" not in out
    assert "clock of wechat" in out


def test_for_programs_it_is_one_document(guarded, capsys):
    call_command("doctor", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert {row["verdict"] for row in rows} <= {"fine", "warning"}
    assert {"subject", "verdict", "detail", "hint"} == set(rows[0])


def test_installation_without_guardians_is_wrong(sandbox, capsys):
    with pytest.raises(SystemExit) as end:
        call_command("doctor")
    assert end.value.code == 1
    assert find("watch").verdict is find("cluster").verdict is Verdict.WRONG


def test_silent_guardian_is_told_from_one_that_was_never_there(guarded):
    Heartbeat.objects.filter(name="cluster").update(at=Now() - timedelta(minutes=3))
    assert re.search(r"silent for 18\d s", find("cluster").detail)


def test_schedule_that_is_not_there_is_wrong(sandbox):
    assert find("schedule scan_payments").verdict is Verdict.WRONG


def test_channel_that_is_not_configured_is_no_fault(guarded):
    finding = find("boleto")
    assert (finding.verdict, "not offered" in finding.detail) == (Verdict.FINE, True)


def test_channel_that_cannot_be_reached_is_wrong(guarded, settings):
    settings.CHANNELS = {"wechat": settings.CHANNELS["wechat"] | {"BASE_URL": "http://127.0.0.1:9"}}
    assert find("wechat").verdict is Verdict.WRONG


def test_key_that_cannot_be_used_is_named(guarded, settings, tmp_path):
    broken = tmp_path / "key.pem"
    broken.write_text("nonsense")
    settings.CHANNELS = {"wechat": settings.CHANNELS["wechat"] | {"MERCHANT_KEY_FILE": str(broken)}}
    told = [finding for finding in examine() if finding.verdict is Verdict.WRONG]
    assert any("WECHAT_MERCHANT_KEY_FILE" in finding.detail for finding in told)


def test_channel_that_cannot_be_used_is_wrong_and_its_open_payments_are_counted(guarded, settings):
    broken = {"unionpay": dict.fromkeys(settings.CHANNEL_KEYS["unionpay"], "x") | {"SIGNER": ""}}
    settings.CHANNELS = settings.CHANNELS | broken
    assert "cannot be used" in find("unionpay").detail
    make_payment(make_order(), channel="unionpay")
    finding = find("unionpay")
    assert (finding.verdict, "1 payments are open" in finding.detail) == (Verdict.WRONG, True)
    assert find("wechat").verdict is Verdict.FINE


def test_closed_payment_that_is_still_looked_at_is_counted_where_nobody_can_ask(guarded, settings):
    payment = make_payment(make_order())
    settle_payment(report(payment, Outcome.CLOSED), channel="wechat", source=Source.QUERY)
    settings.CHANNELS = settings.CHANNELS | {"wechat": None}
    finding = find("wechat")
    assert (finding.verdict, "1 payments are open" in finding.detail) == (Verdict.WRONG, True)


def test_address_that_cannot_be_read_is_no_end_of_the_doctor(guarded, settings):
    settings.CHANNELS = {"wechat": settings.CHANNELS["wechat"] | {"BASE_URL": "https://[x"}}
    told = [finding for finding in examine() if finding.verdict is Verdict.WRONG]
    assert any("WECHAT_BASE_URL" in finding.detail for finding in told)


def test_clock_that_is_off_is_wrong(guarded, monkeypatch):
    monkeypatch.setattr(doctor, "MOST_SKEW", timedelta(microseconds=-1))
    assert find("clock of postgresql").verdict is Verdict.WRONG
    assert find("clock of wechat").verdict is Verdict.WRONG


def test_redis_that_is_gone_is_a_warning_because_the_shop_sells_on(guarded, settings):
    with closing(refuse_connections()) as closed:
        nowhere = {"LOCATION": f"redis://127.0.0.1:{closed.getsockname()[1]}/0"}
        settings.CACHES = settings.CACHES | {"default": settings.CACHES["default"] | nowhere}
        assert find("redis").verdict is Verdict.WARNING
