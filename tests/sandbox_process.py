"""Starts a sandbox gateway as its own process for a test, and holds the controls of it.

Safe under xdist: every process takes a free port and has its own data folder; only the keys may be shared.
"""

import atexit
import select
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests

_ROOT = Path(__file__).resolve().parent.parent
_START_LIMIT_S = 30.0


class SandboxProcess:
    """A running gateway. `env` holds the variables that point a client at it, `url` its address."""

    def __init__(self, process: "subprocess.Popen[str]", url: str, data_dir: Path) -> None:
        self.process = process
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.env = read_environment((data_dir / "env").read_text())
        self.log_file = data_dir / "sandbox.log"
        self.http = requests.Session()
        self.http.trust_env = False
        atexit.register(self.kill)

    def trades(self, number: str | None = None, channel: str | None = None) -> list[dict[str, Any]]:
        """The truth of the money, newest first; of one number or channel when given."""
        wanted = {"out_trade_no": number, "channel": channel}
        return self._control(
            "GET", "/trades", params={name: value for name, value in wanted.items() if value}
        )

    def pay(self, number: str, *, channel: str = "wechat", force: bool = False) -> list[dict[str, Any]]:
        """Pay as the shopper would; forced: although closed, expired or paid. Returns the number's trades."""
        return self._deed(channel, number, "pay", "trades", {"force": force})

    def scan(self, number: str, *, channel: str = "wechat") -> list[dict[str, Any]]:
        """Scan the code or open the link as the shopper would. Returns the number's trades."""
        return self._deed(channel, number, "scan", "trades", {})

    def set_webhooks(self, **urls: str) -> None:
        """Where each of these channels sends what no request names an address for."""
        self._control("PUT", "/webhooks", json=urls)

    def decline(self, number: str, *, channel: str = "wechat") -> list[dict[str, Any]]:
        """Decline as the shopper would. Returns the number's trades."""
        return self._deed(channel, number, "decline", "trades", {})

    def notify(
        self, number: str, *, channel: str = "wechat", refund_number: str | None = None
    ) -> list[dict[str, Any]]:
        """Send the payment's notification, or a refund's, now. Returns the tries with what came back."""
        wish = {} if refund_number is None else {"out_refund_no": refund_number}
        return self._deed(channel, number, "notify", "notifications", wish)

    def refund_in_console(
        self, number: str, amount: int, *, channel: str = "wechat", channel_number: str | None = None
    ) -> list[dict[str, Any]]:
        """Give minor units back as staff would in the channel's own console. Returns the number's trades.

        `channel_number` says which trade of a number that was paid twice.
        """
        which = {} if channel_number is None else {"channel_number": channel_number}
        return self._deed(channel, number, "refund", "trades", {"amount": amount} | which)

    def end_notifications(self) -> None:
        """Give up what is still to be tried, so that it does not reach into the next test."""
        self._control("DELETE", "/notifications")

    def set_faults(self, faults: dict[str, Any]) -> dict[str, Any]:
        """Put faults in force in place of the present ones."""
        in_force: dict[str, Any] = self._control("PUT", "/faults", json=faults)
        return in_force

    def age(self, *, days: int = 1) -> None:
        """Let all that has happened be older, so that the statements of its day can be had."""
        self._control("POST", "/age", json={"days": days})

    def clear_faults(self) -> None:
        """From now on everything goes well."""
        self._control("DELETE", "/faults")

    def stop(self) -> int:
        """End it in good order; returns the exit status."""
        self.process.terminate()
        return self._reap()

    def kill(self) -> int:
        """End it as a crash would."""
        self.process.kill()
        return self._reap()

    def _reap(self) -> int:
        atexit.unregister(self.kill)
        self.http.close()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return self.process.wait(timeout=_START_LIMIT_S)

    def _deed(
        self, channel: str, number: str, deed: str, told: str, wish: dict[str, Any]
    ) -> list[dict[str, Any]]:
        path = f"/trades/{channel}/{number}/{deed}"
        rows: list[dict[str, Any]] = self._control("POST", path, json=wish)[told]
        return rows

    def _control(self, method: str, path: str, **request: Any) -> Any:
        answer = self.http.request(method, f"{self.url}/_sandbox{path}", timeout=30, **request)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


def start_sandbox(
    data_dir: Path,
    *,
    port: int | None = None,
    notify_speed: float = 1,
    refund_delay: float = 0.2,
    key_dir: Path | None = None,
    shop_url: str | None = None,
) -> SandboxProcess:
    """Start a gateway and wait until it listens. `port` None takes a free one; `key_dir` shares keys."""
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "payments.sandbox", f"--port={port or 0}", f"--data-dir={data_dir}"]
    command += [f"--notify-speed={notify_speed}", f"--refund-delay={refund_delay}"]
    command += [] if key_dir is None else [f"--key-dir={key_dir}"]
    command += [] if shop_url is None else [f"--shop-url={shop_url}"]
    with (data_dir / "sandbox.log").open("a") as log:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    return SandboxProcess(process, _read_address(process, data_dir), data_dir)


def read_environment(text: str) -> dict[str, str]:
    """What `--print-env` printed, as a dict."""
    return dict(shlex.split(line)[0].split("=", 1) for line in text.splitlines())


def _read_address(process: "subprocess.Popen[str]", data_dir: Path) -> str:
    assert process.stdout is not None
    deadline = time.monotonic() + _START_LIMIT_S
    ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        process.wait()
        raise RuntimeError(f"the sandbox did not start: {(data_dir / 'sandbox.log').read_text()[-2000:]}")
    return line.partition(": ")[2].strip().removesuffix("/_sandbox/")
