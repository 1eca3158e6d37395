"""One channel's bad setting stops neither the web nor a guardian: each says in its log what is wrong, and works."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core import checks
from django.core.management import load_command_class
from structlog.testing import capture_logs

from payments.applying import apply_for_payment
from payments.models import Payment
from shop.findings import tell_findings
from tests.factories import make_order
from tests.programs import ROOT, call, environment, running
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

GUARDIANS = {
    "shop": ("watch", "cluster"),
    "payments": (
        *("scan_payments", "query_payment", "refund", "replay_callback", "reconcile"),
        *("audit", "cases", "doctor"),
    ),
}
FINDING = "payments.E401"


@pytest.fixture
def shop(sandbox, settings):
    """WeChat at the sandbox, and a boleto account whose key is none."""
    boleto = dict.fromkeys(settings.CHANNEL_KEYS["boleto"], "x") | {"BASE_URL": "https://api.stripe.com"}
    settings.CHANNELS = settings.CHANNELS | {"boleto": boleto}
    return sandbox


def test_what_is_wrong_is_an_error_of_the_checks(shop):
    done = call("check")
    assert (done.returncode, FINDING in done.stderr) == (1, True)


def test_watch_says_what_is_wrong_and_finds_the_payments_of_the_other_channels(shop, tmp_path):
    shop.set_faults({"notify": {"drop": 1.0}})
    payment = apply_for_payment(make_order().number, channel="wechat", scene="qr").payment
    shop.pay(payment.number)
    log = tmp_path / "watch.log"
    with running("watch", "--no-cluster", log=log):
        wait_until(lambda: Payment.objects.get().status == "PAID", within_s=20)
    assert lines_about(FINDING, log) == 1


def lines_about(finding: str, log: Path) -> int:
    told = [line for line in log.read_text().splitlines() if finding in line]
    assert all("error" in line for line in told)
    return len(told)


@pytest.mark.parametrize(("app", "name"), [(app, name) for app, names in GUARDIANS.items() for name in names])
def test_command_that_guards_money_needs_no_check(app, name):
    assert load_command_class(app, name).requires_system_checks == ()


@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_web_starts_and_says_what_is_wrong_in_one_line(shop, tmp_path, server):
    log = tmp_path / "web.log"
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "-c", f"import shop.{server}"],
            env=environment(), cwd=ROOT, stdout=out, stderr=out, timeout=60, check=True,
        )  # fmt: skip
    assert lines_about(FINDING, log) == 1
    assert "Traceback" not in log.read_text()


def test_check_that_breaks_is_told_and_stops_nothing(monkeypatch):
    def break_down() -> None:
        raise RuntimeError("s3cret")

    monkeypatch.setattr(checks, "run_checks", break_down)
    with capture_logs() as told:
        tell_findings()
    [line] = told
    assert (line["log_level"], line["error"]) == ("error", "RuntimeError")
    assert "s3cret" not in str(line)
