"""The gateway as a process: where it listens, what it keeps, how it starts, stops and comes back."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from django.conf import settings

from payments.sandbox.ledger import Ledger
from payments.sandbox.server import SIDES
from tests.sandbox.merchant import Merchant
from tests.sandbox_process import read_environment
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*options):
    command = [sys.executable, "-m", "payments.sandbox", *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def print_environment(tmp_path, *options):
    printed = run("--print-env", "--data-dir", tmp_path / "box", *options)
    assert printed.returncode == 0, printed.stderr
    return read_environment(printed.stdout)


def test_environment_points_a_client_at_the_port(tmp_path):
    env = print_environment(tmp_path, "--port", 9123)

    assert env["WECHAT_BASE_URL"] == env["SANDBOX_URL"] == "http://127.0.0.1:9123"
    assert len(env["WECHAT_APIV3_KEY"]) == 32


@pytest.mark.parametrize("channel", [side.name for side in SIDES])
def test_environment_holds_all_that_a_channel_of_ours_needs_and_nothing_else(tmp_path, channel):
    prefix = f"{channel.upper()}_"
    printed = {name.removeprefix(prefix) for name in print_environment(tmp_path) if name.startswith(prefix)}

    needed = set(settings.CHANNEL_KEYS[channel])
    assert needed <= printed <= needed | set(settings.CHANNEL_OPTIONS.get(channel, {}))


def test_environment_is_the_same_at_every_start(tmp_path):
    assert print_environment(tmp_path) == print_environment(tmp_path)


def test_environment_is_readable_by_a_shell(tmp_path):
    folder = tmp_path / "a folder with 'quotes' and $(blanks)"
    printed = run("--print-env", "--data-dir", folder).stdout

    shell = subprocess.run(
        ["/bin/sh", "-c", f'{printed}\ncat "$WECHAT_MERCHANT_KEY_FILE"'],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout.startswith("-----BEGIN PRIVATE KEY-----")


def test_identities_are_marked_as_the_sandboxs(tmp_path):
    env = print_environment(tmp_path)

    assert env["WECHAT_MCHID"].startswith("99")
    assert env["WECHAT_MERCHANT_SERIAL"].startswith("5A4DB0C5")
    assert env["WECHAT_APIV3_KEY"].startswith("nodropSandbox")
    assert env["WECHAT_PLATFORM_KEY_ID"].startswith("PUB_KEY_ID_0199")


def test_keys_are_for_their_owner_only(tmp_path):
    print_environment(tmp_path)
    keys = tmp_path / "box" / "keys"

    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in keys.iterdir()} == {0o600}


def test_processes_that_start_together_agree_on_the_keys(tmp_path):
    command = [sys.executable, "-m", "payments.sandbox", "--print-env", "--data-dir", str(tmp_path / "box")]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    printed = {process.communicate(timeout=60)[0] for process in started}

    assert len(printed) == 1
    serial = read_environment(printed.pop())["WECHAT_MERCHANT_SERIAL"]
    assert serial == print_environment(tmp_path)["WECHAT_MERCHANT_SERIAL"]


def test_running_gateway_leaves_its_environment_in_a_private_file(own_sandbox, tmp_path):
    sandbox = own_sandbox()
    file = tmp_path / "sandbox" / "env"

    assert read_environment(file.read_text())["SANDBOX_URL"] == sandbox.url
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "shop.example"])
def test_it_refuses_to_listen_beyond_this_machine(tmp_path, host):
    refused = run("--host", host, "--port", 0, "--data-dir", tmp_path / "box")

    assert refused.returncode == 2
    assert "--allow-remote" in refused.stderr
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize(
    "option", ["--notify-speed=0", "--notify-speed=nan", "--refund-delay=-1", "--port=70000"]
)
def test_option_without_sense_is_refused(tmp_path, option):
    assert run(option, "--data-dir", tmp_path / "box").returncode == 2


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "http://shop.example", "http://127.0.0.1:8000/?a=1"])
def test_shop_that_cannot_be_notified_is_refused(tmp_path, url):
    refused = run("--port=0", f"--shop-url={url}", "--data-dir", tmp_path / "box")

    assert refused.returncode == 2
    assert "--shop-url must be" in refused.stderr
    assert not (tmp_path / "box").exists()


def test_shop_is_entered_as_webhook_of_the_channels_that_need_one(own_sandbox, tmp_path):
    own_sandbox(shop_url="http://127.0.0.1:8000")

    with Ledger(tmp_path / "sandbox" / "ledger.sqlite3") as ledger:
        entered = {side.name: ledger.find_webhook(side.name) for side in SIDES}
    assert entered == {
        side.name: f"http://127.0.0.1:8000/notify/{side.name}/" if side.needs_webhook else ""
        for side in SIDES
    }


def test_taken_port_is_said_plainly(own_sandbox, tmp_path):
    sandbox = own_sandbox()

    refused = run("--port", sandbox.port, "--data-dir", tmp_path / "other")

    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{sandbox.port}" in refused.stderr


def test_second_gateway_on_the_same_data_is_refused(own_sandbox, tmp_path):
    own_sandbox()

    refused = run("--port", 0, "--data-dir", tmp_path / "sandbox")

    assert refused.returncode == 2
    assert "another gateway uses" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_in_good_order(own_sandbox, number):
    sandbox = own_sandbox()

    os.kill(sandbox.process.pid, number)

    assert sandbox.process.wait(timeout=10) == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_ledger_survives_the_process(own_sandbox, end):
    sandbox = own_sandbox()
    merchant = Merchant(sandbox)
    paid, code = merchant.create_code()
    closed, left = merchant.create(), merchant.create()
    sandbox.pay(paid)
    merchant.close(closed)
    merchant.refund(paid, 2900, "R" + paid)
    wait_until(lambda: sandbox.trades(paid)[0]["refunds"][0]["status"] == "SUCCESS")
    before = [{**trade, "notifications": None} for trade in sandbox.trades()]
    getattr(sandbox, end)()

    again = own_sandbox(port=sandbox.port)

    assert [{**trade, "notifications": None} for trade in again.trades()] == before
    assert again.pay(left)[0]["status"] == "PAID"
    assert paid in again.http.get(f"{again.url}/_sandbox/wallet", params={"content": code}).text


def test_refund_in_progress_ends_after_a_restart(own_sandbox):
    sandbox = own_sandbox(refund_delay=1)
    merchant = Merchant(sandbox)
    number = merchant.create()
    sandbox.pay(number)
    merchant.refund(number, 2900)
    sandbox.kill()

    again = own_sandbox()

    wait_until(lambda: again.trades(number)[0]["refunds"][0]["status"] == "SUCCESS")


def test_management_command_prints_the_same_environment(tmp_path):
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "--print-env",
        "--port",
        "9123",
        "--data-dir",
        str(tmp_path / "box"),
    ]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert printed.returncode == 0, printed.stderr
    assert read_environment(printed.stdout) == print_environment(tmp_path, "--port", 9123)


COMMAND = """
import sys
import django
from django.conf import settings
settings.configure()
django.setup()
from payments.management.commands.sandbox import Command
Command().run_from_argv(["manage.py", "sandbox", *sys.argv[1:]])
"""


def test_log_holds_no_secret(own_sandbox):
    sandbox = own_sandbox()
    merchant = Merchant(sandbox)
    sandbox.pay(merchant.create())
    requests.get(f"{sandbox.url}/v3/certificates", timeout=5)
    sandbox.stop()

    log = sandbox.log_file.read_text()

    assert "POST /v3/pay/transactions/native 200" in log
    assert sandbox.env["WECHAT_APIV3_KEY"] not in log
    assert "signature" not in log.lower()
