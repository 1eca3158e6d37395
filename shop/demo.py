"""What `manage.py demo` needs beyond the parts it starts: free ports, variables, a prepared database, a staff login.

For one machine and one person. Production sets its own variables and starts web and watch by its own means.
"""

import fcntl
import http.client
import os
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import OperationalError, connections

from shop import embedded
from shop.processes import Supervisor

STAFF_NAME = "staff"
# Longer than a request or a task of the cluster may take.
GRACE_S = 20.0
ANSWER_TIMEOUT_S = 1.0
# How uvicorn bears the sockets of the pages, by the names of its own settings. Clients say nothing: what they could send
# is small, and a page that has vanished is noticed within 40 s.
WEB_SOCKETS: dict[str, Any] = {
    "ws": "websockets-sansio",
    "ws_max_size": 1024,
    "ws_max_queue": 4,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
    "ws_per_message_deflate": False,
}


class DemoError(Exception):
    """The demo cannot start like this. The message is for the person who called it."""


# ---- Before anything is started ---------------------------------------------------------------------------------
def use_data_dir(data_dir: Path | None) -> None:
    """Begin anew when the settings were read for another data folder; the children learn of it by the environment."""
    wanted = str(data_dir.resolve() if data_dir else settings.DATA_DIR)
    if wanted != str(settings.DATA_DIR):
        if os.environ.get("NODROP_DATA_DIR") == wanted:
            raise DemoError(f"The settings do not take {wanted} as data folder.")
        os.environ["NODROP_DATA_DIR"] = wanted
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is what we want
    os.environ["NODROP_DATA_DIR"] = wanted


@contextmanager
def only_demo(address: str) -> Iterator[None]:
    """Inside, no other demo runs with this data folder; the kernel forgets a killed one. Raises DemoError."""
    embedded.prepare(settings.DATA_DIR)
    with (settings.DATA_DIR / "demo.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise DemoError(
                f"A demo already runs with {settings.DATA_DIR}, at {file.read()}. "
                "Stop it first, or choose another --data-dir, --port and --sandbox-port."
            ) from None
        file.truncate(0)
        file.write(address)
        file.flush()
        yield


def require_free_ports(port: int, sandbox_port: int) -> None:
    """Raises DemoError that names the port and what to do."""
    if port == sandbox_port:
        raise DemoError("--port and --sandbox-port must differ.")
    for option, number in (("--port", port), ("--sandbox-port", sandbox_port)):
        if problem := _port_problem(number):
            raise DemoError(f"Port {number} {problem}; choose another one with {option}.")


def _port_problem(port: int) -> str | None:
    if not 0 < port < 65536:
        return "is not a port number"
    with socket.socket() as probe:
        # As the servers do, so that connections of a demo just ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except PermissionError:
            return "is reserved for root"
        except OSError:
            return "is taken: stop the program that uses it"
    return None


# ---- What the parts need ----------------------------------------------------------------------------------------
def demo_environment(port: int, sandbox_port: int) -> dict[str, str]:
    """The variables that bind shop and sandbox together, also left in `demo.env` for commands in other terminals."""
    os.environ.setdefault("DEBUG", "1")
    variables = _channel_variables(sandbox_port) | {
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SANDBOX_URL": f"http://127.0.0.1:{sandbox_port}",
        "WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1/32",  # somebody who tries it out has a receiver on this machine
    }
    lines = [f"{name}={_quote_for_dotenv(value)}\n" for name, value in variables.items()]
    _write_private(settings.DATA_DIR / "demo.env", "".join(lines))
    return variables


def prepare_database() -> str:
    """Servers, tables, catalogue and staff login. Returns the staff's password, as `staff_password` does."""
    embedded.ensure_started_for(settings)
    try:
        call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise DemoError(f"The database does not answer: {error}") from error
    call_command("load_catalogue")
    password = staff_password(settings.DATA_DIR / "staff-password")
    connections.close_all()
    return password


def staff_password(path: Path) -> str:
    """The password of the staff login, kept in `path`; both are made when missing. One that staff changed stays."""
    users = get_user_model()._default_manager
    staff = users.filter(username=STAFF_NAME).first()
    kept = path.read_text().strip() if path.exists() else ""
    if staff and kept:
        return kept if staff.check_password(kept) else "(the password you changed it to)"
    password = kept or secrets.token_urlsafe(12)
    _write_private(path, f"{password}\n")
    staff = staff or users.model(username=STAFF_NAME, is_staff=True, is_superuser=True)
    staff.set_password(password)
    staff.save()
    return password


def _channel_variables(sandbox_port: int) -> dict[str, str]:
    """What points our channels at the sandbox, in its own words: lines `NAME=value`, quoted for a shell."""
    command = [*_sandbox_command(sandbox_port), "--print-env"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise DemoError(f"The sandbox cannot start: {asked.stderr.strip()}")
    words = shlex.split(asked.stdout, comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and for our own eyes."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _quote_for_dotenv(value: str) -> str:
    """Between single quotes `.env` files know two escapes, unlike a shell."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# ---- Running ----------------------------------------------------------------------------------------------------
def supervise(out: TextIO, variables: dict[str, str], *, port: int, sandbox_port: int, welcome: str) -> None:
    """Run web, watch and sandbox until a signal, print `welcome` when they answer, bring killed servers back."""
    supervisor = Supervisor(out, grace_s=GRACE_S)
    environment = os.environ | variables | {"PYTHONUNBUFFERED": "1"}
    uvicorn = ["uvicorn", "shop.asgi:application", "--host", "127.0.0.1", "--port", str(port)]
    uvicorn += [f"--{name.replace('_', '-')}={value}" for name, value in WEB_SOCKETS.items()]
    for name, args in (
        (
            "web",
            [
                sys.executable,
                "-m",
                *uvicorn,
                "--lifespan",
                "off",
                "--no-access-log",
                "--log-level",
                "warning",
            ],
        ),
        ("watch", _manage("watch")),
        ("sandbox", [*_sandbox_command(sandbox_port), "--shop-url", f"http://127.0.0.1:{port}"]),
    ):
        supervisor.add(name, args, env=environment, cwd=settings.BASE_DIR)
    greeted = False

    def tick() -> None:
        nonlocal greeted
        try:
            embedded.ensure_started_for(settings)
        except embedded.EmbeddedError as error:
            supervisor.say(f"nodrop: {error}")
        if not greeted and _is_up(port, "/healthz") and _is_up(sandbox_port, "/_sandbox/"):
            greeted = True
            supervisor.say(welcome)

    with supervisor.stopped_by_signals():
        supervisor.run(tick)


def _is_up(port: int, path: str) -> bool:
    """Whether a page of 127.0.0.1 answers 200. Not by a library that would ask a proxy of the environment."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _sandbox_command(port: int) -> list[str]:
    place = ["--host", "127.0.0.1", "--port", str(port)]
    return [*_manage("sandbox"), *place, "--data-dir", str(settings.DATA_DIR / "sandbox")]


def _manage(command: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), command]
