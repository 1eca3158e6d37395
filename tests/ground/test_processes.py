"""Processes that end with their parent, groups that end as a whole, and the supervisor; all with real processes."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shop.processes import Supervisor, end_group, start_group
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has the death signal")
TIME_LIMIT_S = 20

# Starts a child in a group, tells its number and waits to be killed.
START_IN_GROUP = """
import sys, time
from shop.processes import start_group
child = start_group([sys.executable, "-c", sys.argv[1]])
time.sleep(60)
"""
# A child that forks a grandchild which forks another one; each tells its number.
FORK_TWICE = """
import os, time
from shop.processes import die_with_parent
die_with_parent()
os.fork() or os.fork()
os.write(1, b"%d\\n" % os.getpid())
time.sleep(60)
"""
# Ends its member by a signal of its own choice when it is told to end.
TIDY = """
import os, signal, subprocess
member = subprocess.Popen(["sleep", "60"])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.write(1, b"ready\\n")
signal.sigwait([signal.SIGTERM])
member.send_signal(signal.SIGUSR1)  # a background shell may have its children ignore SIGINT
os.write(1, b"member ended with %d\\n" % member.wait())
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
os.write(1, b"%d\\n" % os.getpid())
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    """A zombie is dead: nobody may have reaped it yet."""
    if not Path("/proc/self").exists():
        asked = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip()[:1] not in {"", "Z"}
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def python(script: str, *args: str) -> list[str]:
    return [sys.executable, "-c", script, *args]


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


def read_numbers(process: subprocess.Popen[bytes], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


# ---- Dying with the parent --------------------------------------------------------------------------------------
@on_linux
def test_group_and_everything_it_forked_die_when_the_parent_is_killed():
    parent = subprocess.Popen(python(START_IN_GROUP, FORK_TWICE), env=env(), stdout=subprocess.PIPE)
    family = read_numbers(parent, 3)
    assert all(map(is_alive, family))
    parent.kill()
    wait_until(lambda: not any(map(is_alive, family)))
    parent.communicate()


@on_linux
def test_program_that_knows_nothing_of_us_dies_with_the_parent():
    parent = subprocess.Popen(
        python(
            START_IN_GROUP.replace(
                '[sys.executable, "-c", sys.argv[1]]', '["sh", "-c", "echo $$; exec sleep 60"]'
            )
        ),
        env=env(),
        stdout=subprocess.PIPE,
    )
    [child] = read_numbers(parent, 1)
    parent.kill()
    wait_until(lambda: not is_alive(child))
    parent.communicate()


@on_linux
def test_child_whose_parent_died_first_does_not_start():
    """The starter is given the number of a parent that it no longer has."""
    starter = REPOSITORY / "shop/processes.py"
    former = subprocess.Popen(["true"])
    former.wait()
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(starter), str(former.pid), "echo", "started"],
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == b""


# ---- Groups -----------------------------------------------------------------------------------------------------
def test_leader_that_heeds_the_signal_ends_with_it():
    process = start_group(["sleep", "60"])
    end_group(process, grace_s=TIME_LIMIT_S)
    assert process.returncode == -signal.SIGTERM


def test_leader_ends_its_members_itself():
    """They get no signal of ours while it lives, so it can let them finish."""
    process = start_group(python(TIDY), env=env(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    end_group(process, grace_s=TIME_LIMIT_S)
    assert process.stdout.read() == b"member ended with %d\n" % -signal.SIGUSR1


def test_stubborn_group_is_killed_whole_after_the_grace():
    process = start_group(python(STUBBORN), env=env(), stdout=subprocess.PIPE)
    members = read_numbers(process, 2)
    end_group(process, grace_s=0.1)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not any(map(is_alive, members)))


def test_what_a_leader_leaves_in_its_group_is_killed():
    process = start_group(["sh", "-c", "trap '' TERM; sleep 60 & echo $!"], stdout=subprocess.PIPE)
    [left] = read_numbers(process, 1)
    process.wait()
    end_group(process, grace_s=TIME_LIMIT_S)
    wait_until(lambda: not is_alive(left))


def test_program_that_does_not_exist_is_named():
    process = start_group(["no-such-program"], stdout=subprocess.PIPE)
    output, _ = process.communicate()
    assert b"no-such-program: No such file" in output
    assert process.returncode == 1


# ---- Supervisor -------------------------------------------------------------------------------------------------
class Demo:
    """A supervisor in the test's own main thread, stopped by a condition on what it printed."""

    def __init__(self, out: io.StringIO | None = None) -> None:
        self.out = out or io.StringIO()
        self.supervisor = Supervisor(self.out, grace_s=0.5)
        self.ticks = 0

    def run_until(self, is_enough: Callable[[str], bool]) -> str:
        give_up_at = time.monotonic() + TIME_LIMIT_S
        done = threading.Event()

        def watch() -> None:
            while not is_enough(self.out.getvalue()) and time.monotonic() < give_up_at:
                done.wait(0.01)
            self.supervisor.stop()

        watcher = threading.Thread(target=watch)
        watcher.start()
        self.supervisor.run(self.tick)
        watcher.join()
        assert is_enough(self.out.getvalue())
        return self.out.getvalue()

    def tick(self) -> None:
        self.ticks += 1


def test_lines_of_all_children_come_out_whole_under_their_names():
    demo = Demo()
    demo.supervisor.add("web", ["sh", "-c", "echo to stdout; echo to stderr >&2; exec sleep 60"], env=env())
    demo.supervisor.add("sandbox", ["sh", "-c", r"printf 'bad \377 byte\n'; exec sleep 60"], env=env())
    output = demo.run_until(lambda text: text.count("\n") >= 3)
    assert sorted(output.splitlines()) == [
        "sandbox | bad \ufffd byte",
        "web     | to stderr",
        "web     | to stdout",
    ]


def test_names_are_coloured_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    demo = Demo(Terminal())
    demo.supervisor.add("web", ["sh", "-c", "echo hello; exec sleep 60"], env=env())
    assert demo.run_until(lambda text: "hello" in text) == "\033[36mweb |\033[0m hello\n"


def test_child_that_dies_is_started_again_and_the_others_stay():
    demo = Demo()
    demo.supervisor.add("short", ["sh", "-c", "echo started; exit 3"], env=env())
    demo.supervisor.add("long", ["sh", "-c", "echo started; exec sleep 60"], env=env())
    output = demo.run_until(lambda text: text.count("short | started") >= 2)
    assert "short | ended with status 3, starting it again" in output
    assert output.count("long  | started") == 1


def test_what_a_dead_child_left_behind_is_gone_before_it_is_started_again():
    demo = Demo()
    demo.supervisor.add("web", ["sh", "-c", "sleep 60 & echo left $!; exit 1"], env=env())
    output = demo.run_until(lambda text: text.count("left") >= 2)
    first_left = int(output.split("left ")[1].split()[0])
    assert not is_alive(first_left)


def test_all_children_end_when_the_supervisor_stops_even_stubborn_ones():
    demo = Demo()
    demo.supervisor.add("meek", ["sh", "-c", "echo $$; exec sleep 60"], env=env())
    demo.supervisor.add("stubborn", python(STUBBORN), env=env())
    output = demo.run_until(lambda text: text.count("\n") >= 3)
    children = [int(line.split()[-1]) for line in output.splitlines()]
    wait_until(lambda: not any(map(is_alive, children)))


def test_hook_is_called_at_once_and_again():
    demo = Demo()
    demo.supervisor.add("idle", ["sleep", "60"], env=env())
    demo.run_until(lambda _: demo.ticks >= 2)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_the_supervisor_and_its_children(signal_number):
    script = """
import os, sys
from shop.processes import Supervisor
supervisor = Supervisor(sys.stdout, grace_s=5)
supervisor.add("child", ["sh", "-c", "echo $$; exec sleep 60"], env=os.environ)
with supervisor.stopped_by_signals():
    supervisor.run()
"""
    process = subprocess.Popen(python(script), env=env(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    child = int(process.stdout.readline().split()[-1])
    process.send_signal(signal_number)
    assert process.wait(TIME_LIMIT_S) == 0
    assert not is_alive(child)
