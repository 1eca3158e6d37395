"""`manage.py` and its `demo` before anything is started: what is wrong is told in one sentence, with exit status 2."""

import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from shop import demo
from tests.sandbox_process import read_environment

MANAGE = Path(__file__).resolve().parents[2] / "manage.py"


def manage(*args: str, **more_env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(MANAGE), *args],
        env=os.environ | more_env,
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence on stderr."""
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.strip().splitlines()
    return line


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("option", ["--port", "--sandbox-port"])
def test_taken_port_is_named_with_the_option_that_changes_it(option, taken_port, free_port, data_dir):
    other = {"--port": "--sandbox-port", "--sandbox-port": "--port"}[option]
    ended = manage("demo", option, str(taken_port), other, str(free_port), "--data-dir", str(data_dir))
    assert f"Port {taken_port} is taken" in refusal(ended)
    assert f"choose another one with {option}." in refusal(ended)
    assert not (data_dir / "postgres").exists()


@pytest.mark.parametrize(("port", "sandbox_port"), [("0", "9000"), ("8000", "65536"), ("8000", "8000")])
def test_impossible_ports_are_refused(port, sandbox_port, data_dir):
    ended = manage("demo", "--port", port, "--sandbox-port", sandbox_port, "--data-dir", str(data_dir))
    assert "port" in refusal(ended)


def test_second_demo_of_a_data_folder_says_where_the_first_is(free_port, data_dir):
    data_dir.mkdir()
    with (data_dir / "demo.lock").open("w") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        first.write("http://127.0.0.1:8000")
        first.flush()
        ended = manage("demo", "--port", str(free_port), "--data-dir", str(data_dir))
    assert f"A demo already runs with {data_dir}, at http://127.0.0.1:8000." in refusal(ended)


def test_wrong_configuration_stops_every_command_with_one_sentence():
    line = refusal(manage("migrate", DATABASE_URL="mysql://localhost/shop"))
    assert line.startswith("nodrop cannot start: DATABASE_URL")


def test_unreadable_variable_stops_every_command_with_one_sentence():
    assert refusal(manage("migrate", DEBUG="perhaps")).startswith("nodrop cannot start: ")


def test_embedded_server_that_cannot_run_stops_a_command_with_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    ended = manage("migrate", NODROP_DATA_DIR=str(tmp_path / "file/below"), DATABASE_URL="", REDIS_URL="")
    assert refusal(ended).startswith("nodrop cannot start: ")


@pytest.mark.parametrize("args", [(), ("help",), ("--version",), ("migrate", "--help"), ("demo", "--help")])
def test_help_starts_no_server(args, data_dir):
    assert manage(*args, NODROP_DATA_DIR=str(data_dir), DATABASE_URL="", REDIS_URL="").returncode == 0
    assert not data_dir.exists()


@pytest.mark.django_db
def test_staff_password_is_made_once_and_kept_for_our_eyes(tmp_path):
    kept = tmp_path / "staff-password"
    password = demo.staff_password(kept)
    assert demo.staff_password(kept) == password
    assert kept.stat().st_mode & 0o777 == 0o600
    [staff] = get_user_model().objects.all()
    assert staff.check_password(password)
    assert staff.is_staff
    assert staff.is_superuser


@pytest.mark.django_db
def test_password_that_staff_changed_is_not_changed_back(tmp_path):
    demo.staff_password(tmp_path / "staff-password")
    staff = get_user_model().objects.get()
    staff.set_password("of their own choice")
    staff.save()
    assert "changed" in demo.staff_password(tmp_path / "staff-password")
    staff.refresh_from_db()
    assert staff.check_password("of their own choice")


@pytest.mark.django_db
def test_lost_password_file_is_made_anew_with_a_password_that_works(tmp_path):
    first = demo.staff_password(tmp_path / "staff-password")
    (tmp_path / "staff-password").unlink()
    second = demo.staff_password(tmp_path / "staff-password")
    assert second != first
    assert get_user_model().objects.get().check_password(second)


@pytest.mark.parametrize(
    "value", ["plain", "two words", "o'brien", 'say "x"', "back\\slash", "a#b", "x=y", "\\'"]
)
def test_demo_variables_come_back_from_their_file_as_they_were(value, tmp_path):
    (tmp_path / "demo.env").write_text(f"NODROP_TEST={demo._quote_for_dotenv(value)}\n")
    # In a process of its own: reading sets variables.
    script = "import sys; from environs import Env; e = Env(); e.read_env(sys.argv[1]); print(e.str('NODROP_TEST'))"
    command = [sys.executable, "-c", script, str(tmp_path / "demo.env")]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    assert read.stdout == f"{value}\n"


def print_sandbox_environment(data_dir: Path, *options: str, **more_env: str) -> dict[str, str]:
    printed = manage("sandbox", "--print-env", *options, NODROP_DATA_DIR=str(data_dir), DEBUG="1", **more_env)
    assert printed.returncode == 0, printed.stderr
    return read_environment(printed.stdout)


def test_environment_of_the_sandbox_follows_a_demo_on_other_ports(tmp_path, settings, monkeypatch):
    monkeypatch.setenv("DEBUG", "1")
    monkeypatch.delenv("SANDBOX_URL", raising=False)
    settings.DATA_DIR = tmp_path
    given = demo.demo_environment(8123, 9123)
    del given["PUBLIC_URL"], given["WEBHOOK_ALLOWED_NETWORKS"]

    assert given["SANDBOX_URL"] == "http://127.0.0.1:9123"
    assert print_sandbox_environment(tmp_path) == given
    assert print_sandbox_environment(tmp_path, "--port", "9200")["SANDBOX_URL"] == "http://127.0.0.1:9200"


@pytest.mark.parametrize(
    "url", ["", "https://sandbox.shop.example:9123", "http://127.0.0.1", "http://127.0.0.1:x"]
)
def test_environment_of_the_sandbox_is_the_usual_one_where_no_demo_ran(tmp_path, url):
    printed = print_sandbox_environment(tmp_path, SANDBOX_URL=url)
    assert printed["SANDBOX_URL"] == "http://127.0.0.1:9000"
