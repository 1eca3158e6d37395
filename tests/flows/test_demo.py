"""The demo's own processes, driven over HTTP as a shopper's client would: nothing of it is reached from inside."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.programs import MANAGE, ROOT, is_alive
from tests.waiting import wait_until

pytestmark = [pytest.mark.demo, pytest.mark.xdist_group("demo")]

CONTACT = {
    "name": "Anna Lin",
    "email": "anna@example.com",
    "phone": "13800000000",
    "address": "1 Garden Road",
}


CHANNELS = ("WECHAT_", "ALIPAY_", "UNIONPAY_", "PAYPAL_", "BOLETO_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Demo:
    """A running demo and a client of its shop and its sandbox."""

    def __init__(self, data_dir: Path) -> None:
        self.port, self.sandbox_port = free_port(), free_port()
        self.shop, self.sandbox = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.sandbox_port}"
        self.log = data_dir.parent / f"demo-{self.port}.log"
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith((*CHANNELS, "DATABASE_URL", "REDIS_URL", "NODROP_", "DJANGO_", "SANDBOX_"))
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [*MANAGE, "demo", f"--port={self.port}", f"--sandbox-port={self.sandbox_port}", f"--data-dir={data_dir}"],
                cwd=ROOT, env=inherited, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: "Ctrl-C stops everything" in self.log.read_text(), within_s=90)
        except BaseException:
            self.process.terminate()  # its parts end with it
            raise

    def order(self, **changed: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """A placed order of the first Chinese product, and the headers of who placed it."""
        products = requests.get(f"{self.shop}/api/v1/products", timeout=10).json()
        sku = next(product["sku"] for product in products if product["currency"] == "CNY")
        body = {"items": [{"sku": sku, "quantity": 1}], "contact": CONTACT, "again": True} | changed
        placed = requests.post(f"{self.shop}/api/v1/orders", json=body, timeout=10)
        assert placed.status_code == 201, placed.text
        return placed.json(), {"Authorization": f"Bearer {placed.json()['token']}"}

    def apply(self, order: dict[str, Any], who: dict[str, str]) -> dict[str, Any]:
        url = f"{self.shop}/api/v1/orders/{order['number']}/payments"
        applied = requests.post(url, json={"channel": "wechat", "scene": "qr"}, headers=who, timeout=15)
        assert applied.status_code in (200, 201), applied.text
        payment: dict[str, Any] = applied.json()
        return payment

    def read(self, order: dict[str, Any], who: dict[str, str]) -> dict[str, Any]:
        answer = requests.get(f"{self.shop}/api/v1/orders/{order['number']}", headers=who, timeout=10)
        read: dict[str, Any] = answer.json()
        return read

    def is_ready(self, order: dict[str, Any], who: dict[str, str]) -> bool:
        return bool(self.read(order, who)["status"] == "READY_FOR_SHIPMENT")

    def pay(self, payment: dict[str, Any]) -> None:
        url = f"{self.sandbox}/_sandbox/trades/wechat/{payment['number']}/pay"
        assert requests.post(url, json={}, timeout=10).ok

    def trade(self, payment: dict[str, Any]) -> dict[str, Any]:
        query = {"out_trade_no": payment["number"]}
        trades = requests.get(f"{self.sandbox}/_sandbox/trades", params=query, timeout=10).json()
        trade: dict[str, Any] = trades[0]
        return trade

    def set_faults(self, faults: dict[str, Any]) -> None:
        assert requests.put(f"{self.sandbox}/_sandbox/faults", json=faults, timeout=10).ok

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that an unprivileged account may enter, unlike pytest's own: run as root, the servers live there too."""
    folder = Path(tempfile.mkdtemp(prefix="nodrop-demo-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def data_dir(folder: Path) -> Path:
    return folder / "data"


@pytest.fixture(scope="module")
def demo(data_dir: Path) -> Iterator[Demo]:
    demo = Demo(data_dir)
    yield demo
    demo.stop()


@pytest.fixture(autouse=True)
def _no_faults(demo: Demo) -> Iterator[None]:
    demo.set_faults({})
    yield
    demo.set_faults({})


def test_order_is_ready_for_shipment_after_the_wallet_paid_its_qr(demo):
    order, who = demo.order()
    payment = demo.apply(order, who)
    wallet = requests.get(
        f"{demo.sandbox}/_sandbox/wallet", params={"content": payment["action"]["content"]}, timeout=10
    )
    assert wallet.status_code == 200
    demo.pay(payment)
    wait_until(lambda: demo.is_ready(order, who))
    assert demo.trade(payment)["amount"] == order["amount"]


def test_payment_is_found_by_query_within_15_seconds_when_every_notification_is_lost(demo):
    demo.set_faults({"notify": {"drop": 1.0}})
    order, who = demo.order()
    payment = demo.apply(order, who)
    time.sleep(11)  # later than the first query, within the 30 s of the promise
    demo.pay(payment)
    paid = time.monotonic()
    wait_until(lambda: demo.is_ready(order, who), within_s=15)
    assert time.monotonic() - paid < 15


def test_payment_is_found_soon_however_late_while_somebody_looks_at_the_page(demo):
    demo.set_faults({"notify": {"drop": 1.0}})
    order, who = demo.order()
    payment = demo.apply(order, who)
    status = f"{demo.shop}/api/v1/orders/{order['number']}/status"
    version = requests.get(status, headers=who, timeout=10).json()["version"]
    time.sleep(32)  # later than the last of the quick queries
    demo.pay(payment)
    paid = time.monotonic()
    told = requests.get(status, headers=who, params={"since": version, "wait": 20}, timeout=30).json()
    assert (told["status"], told["payment_status"]) == ("READY_FOR_SHIPMENT", "PAID")
    assert time.monotonic() - paid < 13


def test_five_callbacks_at_once_are_one_event(demo, data_dir):
    dup = {"channel": "wechat", "operation": "notify", "when": "before", "what": "dup", "value": 5}
    demo.set_faults({"script": [dup]})
    order, who = demo.order()
    payment = demo.apply(order, who)
    demo.pay(payment)
    wait_until(lambda: len(demo.trade(payment)["notifications"]) >= 5)
    assert all(each["acknowledged"] for each in demo.trade(payment)["notifications"])
    count = (
        "from shop.models import Event; from payments.models import Receipt; "
        f"print(Event.objects.filter(subject='{payment['number']}', to_status='PAID').count(), "
        f"Receipt.objects.filter(payment__number='{payment['number']}').count())"
    )
    assert demo_command(data_dir, "shell", "--no-imports", "-c", count).split() == ["1", "1"]


def demo_command(data_dir: Path, *args: str) -> str:
    """What any `manage.py` command in a second terminal prints."""
    done = subprocess.run(
        [*MANAGE, *args], cwd=ROOT, env=os.environ | {"NODROP_DATA_DIR": str(data_dir)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_command_in_a_second_terminal_reaches_the_same_servers_and_channels(demo, data_dir):
    demo.set_faults({"notify": {"drop": 1.0}})
    order, who = demo.order()
    payment = demo.apply(order, who)
    demo.pay(payment)
    assert "PAID" in demo_command(data_dir, "query_payment", payment["number"])
    assert demo.is_ready(order, who)


def test_web_that_is_killed_comes_back_and_the_order_is_settled(demo):
    demo.set_faults({"notify": {"drop": 1.0}})
    order, who = demo.order()
    payment = demo.apply(order, who)
    demo.pay(payment)
    [web] = [child for child in psutil.Process(demo.process.pid).children() if "uvicorn" in child.cmdline()]
    web.kill()
    wait_until(lambda: is_up(demo), within_s=30)
    wait_until(lambda: demo.is_ready(order, who), within_s=30)


def is_up(demo: Demo) -> bool:
    try:
        return requests.get(f"{demo.shop}/healthz", timeout=2).ok
    except (requests.ConnectionError, requests.Timeout):
        return False


def test_staff_can_log_in_with_the_printed_password(demo):
    password = re.search(r"password (\S+)", demo.log.read_text())
    assert password
    browser = requests.Session()
    browser.get(f"{demo.shop}/admin/login/", timeout=10)
    form = {
        "username": "staff", "password": password[1], "next": "/admin/",
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }  # fmt: skip
    entered = browser.post(f"{demo.shop}/admin/login/", data=form, headers={"Referer": demo.shop}, timeout=10)
    assert "Back office" in entered.text


def test_second_start_finds_what_the_first_left_and_a_signal_stops_everything(folder):
    first = Demo(folder / "twice")
    order, who = first.order()
    assert first.stop() == 0
    second = Demo(folder / "twice")
    try:
        assert second.read(order, who)["number"] == order["number"]
        whole = psutil.Process(second.process.pid)
        # web, sandbox, watch, and the cluster with its own
        parts = wait_until(lambda: len(found := whole.children(recursive=True)) >= 6 and found, within_s=30)
        postgres = int((folder / "twice/postgres/data/postmaster.pid").read_text().split()[0])
        redis = int((folder / "twice/redis/pid").read_text())
        servers = [psutil.Process(pid) for pid in (postgres, redis)]
    finally:
        assert second.stop() == 0
    assert [each for each in [*parts, *servers] if is_alive(each.pid)] == []
