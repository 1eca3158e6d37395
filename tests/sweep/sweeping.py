"""The sweep: record the points of a flow, then visit each with every deed, heal, and ask whether the money is right.

A point that is not reached, or is another one than was recorded, fails the sweep: the map has moved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection

from payments.audit import Violation, audit, audit_trades
from payments.models import Callback, Receipt
from tests.emptying import empty_tables
from tests.sandbox_process import SandboxProcess
from tests.sweep.children import Child, Tell, describe_error
from tests.sweep.flows import RIVALS, Flow
from tests.sweep.seams import DEEDS_AT, Deed, Point, Road, install
from tests.sweep.world import Mailbox, World, forget_in_redis

# These hold at every commit; the others of the audit only when nothing is left to do.
ALWAYS = frozenset({"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I14"})
ROUNDS = 30
# A rival waits no longer than this for a row that the sleeper holds.
RIVAL_OPTIONS = " -c lock_timeout=50ms"
# The database, or a seam, may break off whoever was stopped or cut; any other error is a bug.
EXCUSED = ("OperationalError", "InterfaceError", "Interrupted")


class MapMoved(AssertionError):
    """A child did not come to its point, or came to another one."""


@dataclass(frozen=True)
class Visit:
    """One point and what befalls the flow there; for a pause, who runs meanwhile; and where its healing is killed."""

    point: Point
    deed: Deed
    rival: str = ""
    healing: Point | None = None

    def __str__(self) -> str:
        meanwhile = f" while {self.rival} runs" if self.rival else ""
        then = f", then kill at {self.healing.label} of the healing" if self.healing else ""
        return f"{self.deed} at {self.point.label}{meanwhile}{then}"


class Sweep:
    """One flow, with one database and one sandbox for itself. `points` are those that it found."""

    def __init__(self, flow: Flow, sandbox: SandboxProcess, mailbox: Mailbox) -> None:
        self.flow, self.sandbox, self.mailbox = flow, sandbox, mailbox
        self.points = self._record()

    def visits(self) -> Iterator[Visit]:
        """Every point with every deed that can befall the flow there."""
        for point in self.points:
            for deed in DEEDS_AT[point.moment]:
                for rival in self.flow.rivals if deed is Deed.PAUSE else [""]:
                    yield Visit(point, deed, rival)

    def pairs(self) -> Iterator[Visit]:
        """Every point at which the flow is killed, with every point at which the healing of that is killed."""
        for point in self.points:
            for healing in self._record_healing(point):
                yield Visit(point, Deed.KILL, healing=healing)

    def make(self, visit: Visit) -> list[str]:
        """Visit one point, heal, and return what is wrong; nothing when the money is right. Raises MapMoved."""
        world = self._begin()
        child = self._fork(world, self._run, visit.point, visit.deed)
        wrong: list[str] = []
        if visit.deed is Deed.PAUSE and child.reaches():
            child.wait_until_stopped()
            try:
                wrong += [f"rival: {line}" for line in _end(self._fork_rival(world, visit.rival), world)]
            finally:
                child.go_on()
        wrong += _end(child, world)
        _check_reached(child, visit)
        wrong += _find_wrong_at_once(world)
        if visit.healing:  # which may be shorter this time: the channel ends its refunds when it likes
            _end(self._fork(world, self._heal, visit.healing, Deed.KILL), world)
            wrong += _find_wrong_at_once(world)
        return wrong + self._finish(world, visit)

    # ---- the steps of a visit ----

    def _record(self) -> list[Point]:
        """The points of the flow when nothing befalls it; then it must end well, of course."""
        world = self._begin()
        child = self._fork(world, self._run)
        wrong = _end(child, world) + self._finish(world)
        assert not wrong, f"{self.flow.name} does not even run by itself: {wrong}"
        return [Point(*told) for told in child.heard("point")]

    def _record_healing(self, point: Point) -> list[Point]:
        world = self._begin()
        _end(self._fork(world, self._run, point, Deed.KILL), world)
        healer = self._fork(world, self._heal)
        _end(healer, world)
        points = [Point(*told) for told in healer.heard("point")]
        return [each for each in points if not each.label.startswith("outside")]  # time passes by a statement

    def _begin(self) -> World:
        empty_tables()
        forget_in_redis(lambda *_: True)
        for mail in Path(settings.EMAIL_FILE_PATH).iterdir():
            mail.unlink()
        world = World(self.sandbox, self.mailbox, self.flow.way)
        world.set_faults()
        self.flow.prepare(world)
        return world

    def _fork(
        self,
        world: World,
        work: Callable[[World], None],
        stop_at: Point | None = None,
        deed: Deed | None = None,
    ) -> Child:
        """Let a child do the work, all seams watched."""

        def live(tell: Tell) -> None:
            world.enter_child(tell)
            install(Road(tell, stop_at.number if stop_at else None, deed))
            work(world)

        return Child(live)

    def _fork_rival(self, world: World, name: str) -> Child:
        def live(tell: Tell) -> None:
            world.enter_child(tell)
            connection.settings_dict["OPTIONS"]["options"] += RIVAL_OPTIONS
            world.let_time_pass()  # whoever sleeps for seconds has lost its lease
            RIVALS[name](self.flow, world)

        return Child(live)

    def _run(self, world: World) -> None:
        self.flow.run(world)

    def _heal(self, world: World, rival: str = "") -> None:
        """Time passes, clients repeat, the channel delivers what was not acknowledged, alarms are handled."""
        world.set_faults()
        world.let_time_pass()
        self.flow.again(world)
        if rival:
            RIVALS[rival](self.flow, world)
        for _ in range(ROUNDS):
            world.let_time_pass()
            failed = world.run_alarms()
            assert not failed, failed
            outstanding = [message for message in world.catch_all() if message.id not in world.acknowledged]
            if self.flow.is_unheard:
                outstanding = []  # the channel's word never comes: the shop has to find out by itself
            if world.is_at_rest() and not outstanding:
                return
            for message in outstanding * 2:
                world.deliver(message)
        raise AssertionError(f"not at rest after {ROUNDS} rounds")

    def _finish(self, world: World, visit: Visit | None = None) -> list[str]:
        """Heal, and ask everything. Returns what is wrong."""
        try:
            self._heal(world, visit.rival if visit else "")
        except Exception:  # noqa: BLE001 - whatever it is, the sweep goes on and tells it
            return [f"the healing: {describe_error()}"]
        wrong = [_tell(each) for each in [*audit(), *audit_trades(world.trades())]]
        seen = world.look()
        besides = self.flow.ends_out_of_reach if visit and visit.deed is Deed.RAISE else ()
        if seen not in (*self.flow.ends, *besides):
            wrong.append(f"{self.flow.__doc__} It ended as {seen}")
        wrong += self.flow.judge_repeat(world)
        if world.look() != seen:
            wrong.append(f"One more repeat changed it to {world.look()}")
        return wrong


def _end(child: Child, world: World) -> list[str]:
    """Wait for a child's end: what it did wrong by itself. Which callbacks it acknowledged is remembered."""
    child.wait()
    message_id = ""
    for word, *values in child.told:
        if word == "delivering":
            message_id = values[0]
        elif word == "answered" and message_id and values[0] < 300:
            world.acknowledged.add(message_id)
    errors = [values[0] for values in child.heard("failed") + child.heard("raised")]
    return [error for error in errors if not error.startswith(EXCUSED)]


def _check_reached(child: Child, visit: Visit) -> None:
    labels = [label for _, label, _ in child.heard("point")]
    if not child.heard("reached") or labels[visit.point.number] != visit.point.label:
        raise MapMoved(f"{visit}: it came by {labels} and raised {child.heard('raised')}")
    if child.was_killed != (visit.deed is Deed.KILL):
        raise MapMoved(f"{visit}: it ended otherwise")


def _find_wrong_at_once(world: World) -> list[str]:
    """What must hold at every commit, and what we acknowledged is kept, or was known to be settled."""
    wrong = [_tell(each) for each in audit() if each.invariant in ALWAYS]
    if not Receipt.objects.exists():
        lost = world.acknowledged - set(Callback.objects.values_list("message_id", flat=True))
        wrong += [f"callback {message_id} was acknowledged and is not kept" for message_id in lost]
    return [f"at once: {line}" for line in wrong]


def _tell(violation: Violation) -> str:
    return f"{violation.invariant}: {violation.subject} {violation.detail}"
