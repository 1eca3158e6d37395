"""Puts the gateway together and runs it: options, keys, ledger, sides, notifier, HTTP server.

The only room that knows all others. It refuses to listen beyond this machine unless told so, and it keeps its
files to itself.
"""

import argparse
import fcntl
import logging
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from werkzeug.serving import make_server

from payments.sandbox.alipay import Alipay
from payments.sandbox.control import Control
from payments.sandbox.faults import Faults
from payments.sandbox.fields import BadField, is_loopback, read_notify_url
from payments.sandbox.gateway import Gateway
from payments.sandbox.handler import Handler
from payments.sandbox.keys import Keyring
from payments.sandbox.ledger import Ledger
from payments.sandbox.notifier import Notifier
from payments.sandbox.pages import Pages
from payments.sandbox.paypal import PayPal
from payments.sandbox.side import Side
from payments.sandbox.stripe import Stripe
from payments.sandbox.unionpay import UnionPay
from payments.sandbox.wechat import WeChat

SIDES: tuple[type[Side], ...] = (WeChat, Alipay, UnionPay, Stripe, PayPal)

WRONG_CALL = 2


class CannotStart(Exception):
    """The options do not work here; the message tells what to change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the gateway, also for the management command."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=9000, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".nodrop/sandbox"), help="ledger and keys (%(default)s)"
    )
    parser.add_argument(
        "--key-dir", type=Path, help="keys, when shared by several gateways (default: DATA_DIR/keys)"
    )
    parser.add_argument(
        "--notify-speed",
        type=float,
        default=1,
        metavar="N",
        help="divides the gaps between the tries of a notification (default: 1)",
    )
    parser.add_argument(
        "--refund-delay",
        type=float,
        default=2,
        metavar="S",
        help="seconds from accepting a refund to its end (default: 2)",
    )
    parser.add_argument(
        "--shop-url",
        metavar="URL",
        help="where a shop listens: channels whose calls name no address notify URL/notify/CHANNEL/",
    )
    parser.add_argument(
        "--allow-remote", action="store_true", help="listen on, and notify, other machines than this one"
    )
    parser.add_argument(
        "--print-env",
        action="store_true",
        help="print the variables that point a client at the gateway, and exit",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, or print the environment. Returns the exit status."""
    try:
        _check_options(options)
        if options.print_env:
            sys.stdout.write(render_environment(options, options.port))
            return 0
        return _serve(options)
    except CannotStart as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return WRONG_CALL


def render_environment(options: argparse.Namespace, port: int) -> str:
    """`NAME=value` lines, quoted for a shell; makes the keys when there are none yet."""
    keyring = Keyring(options.key_dir or options.data_dir / "keys")
    with Ledger(":memory:") as ledger:
        return _render_environment(_build_sides(options, keyring, ledger), _build_url(options.host, port))


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m payments.sandbox`."""
    parser = argparse.ArgumentParser(
        "sandbox", description="The payment channels' other side, with throwaway keys."
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def _check_options(options: argparse.Namespace) -> None:
    if not is_loopback(options.host) and not options.allow_remote:
        raise CannotStart(f"{options.host} is not this machine only; say --allow-remote if you mean it")
    if not 0 <= options.port <= 65535:
        raise CannotStart(f"{options.port} is no port")
    if not options.notify_speed > 0 or not options.refund_delay >= 0:
        raise CannotStart("--notify-speed must be above 0 and --refund-delay not below")
    if options.shop_url is not None:
        try:
            read_notify_url({"--shop-url": options.shop_url}, "--shop-url", longest=200)
        except BadField as wrong:
            raise CannotStart(str(wrong)) from wrong


def _serve(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s sandbox %(message)s")
    options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _claim(options.data_dir), Ledger(options.data_dir / "ledger.sqlite3") as ledger:
        sides = _build_sides(options, Keyring(options.key_dir or options.data_dir / "keys"), ledger)
        enter_webhooks(sides, ledger, options.shop_url)
        faults = Faults(list(sides))
        notifier = Notifier(
            sides, ledger, faults, speed=options.notify_speed, is_remote_allowed=options.allow_remote
        )
        control = Control(sides, ledger, faults, notifier)
        server = _listen(options, Gateway(sides, ledger, faults, control, Pages(control)))
        url = _build_url(options.host, server.port)
        _write_private(options.data_dir / "env", _render_environment(sides, url))
        notifier.start()
        _stop_on_signals(server)
        sys.stdout.write(f"sandbox gateway: {url}/_sandbox/\n")
        sys.stdout.flush()
        server.serve_forever()
        server.server_close()
        notifier.stop()
    return 0


def _build_sides(options: argparse.Namespace, keyring: Keyring, ledger: Ledger) -> dict[str, Side]:
    return {side.name: side(keyring, ledger, options.refund_delay) for side in SIDES}


def enter_webhooks(sides: dict[str, Side], ledger: Ledger, shop_url: str | None) -> None:
    """As the merchant would in each channel's console. Without an address those that were entered before stay."""
    if shop_url is None:
        return
    with ledger.transaction():
        for side in sides.values():
            if side.needs_webhook:
                ledger.set_webhook(side.name, f"{shop_url.rstrip('/')}/notify/{side.name}/")


def _render_environment(sides: dict[str, Side], url: str) -> str:
    variables = {"SANDBOX_URL": url}
    for side in sides.values():
        variables |= side.read_environment(url)
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())


def _listen(options: argparse.Namespace, gateway: Gateway) -> Any:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listening = socket.create_server((options.host, options.port), family=family, backlog=128)
    except OSError as error:
        raise CannotStart(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from error
    with listening:  # the server works on a copy
        return make_server(
            options.host, options.port, gateway, threaded=True, request_handler=Handler, fd=listening.fileno()
        )


def _build_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _claim(folder: Path) -> IO[str]:
    """Hold the data folder while the process lives: two gateways on it would notify everything twice."""
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise CannotStart(f"another gateway uses {folder}") from error
    return file


def _write_private(target: Path, text: str) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def _stop_on_signals(server: Any) -> None:
    def stop(number: int, frame: Any) -> None:
        # shutdown waits for the loop that this very thread runs, so another one has to ask.
        threading.Thread(target=server.shutdown, daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
