"""The lines of the house: who imports whom, and who may write a status. See README, "How the house is built"."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["shop", "orders", "payments", "shop.checkout"]  # from the ground up: imports go downwards only
# Inside payments, from the lowest step up; a room imports only from lower steps, never from its own.
STEPS = [
    ["statuses", "errors"],
    ["channels"],
    ["books", "history"],
    ["models"],
    ["moves", "cases", "attempts", "calls", "mails"],
    ["returning", "keeping"],
    ["settling"],
    ["capturing"],
    ["querying", "showing", "mailing"],
    ["cached"],
    ["applying", "ending", "callbacks", "refunding", "following", "audit", "shipping", "statements"],
    ["evidence", "reconciling"],
    ["repairing"],
    ["scanner", "doctor", "story", "home", "deeds"],
    ["recording"],
    ["api", "views", "admin", "tasks", "checks", "management", "metrics"],
    ["urls", "notify_urls", "apps", "templatetags"],
]
# Words of the channels' protocol that the lowest room shares: typed outcomes.
SHARED = {"payments.channels.base"}
WRITERS = {"orders.moves", "payments.moves", "shop.webhooks.outcomes"}


def modules() -> dict[str, ast.Module]:
    paths = [path for floor in ("shop", "orders", "payments") for path in (ROOT / floor).rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name: ast.parse(path.read_text()) for name, path in names.items() if ".migrations." not in name}


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".")[: -node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def floor_of(name: str) -> int | None:
    floors = [floor for floor in FLOORS if name == floor or name.startswith(f"{floor}.")]
    return FLOORS.index(floors[-1]) if floors else None


def step_of(name: str) -> int | None:
    room = name.split(".")[1] if name.startswith("payments.") else ""
    return next((step for step, rooms in enumerate(STEPS) if room in rooms), None)


MODULES = modules()
EDGES = [(name, target) for name, tree in MODULES.items() for target in imports(name, tree)]


def test_imports_go_down_the_floors():
    wrong = [(a, b) for a, b in EDGES if (floor_of(b) or 0) > (floor_of(a) or 0)]
    assert wrong == []


def test_imports_go_down_the_steps_of_payments():
    wrong = [
        (a, b)
        for a, b in EDGES
        if (low := step_of(b)) is not None
        and (high := step_of(a)) is not None
        and low >= high
        and a.split(".")[1] != b.split(".")[1]
        and b not in SHARED
        and b.rpartition(".")[0] not in SHARED
    ]
    assert wrong == []


def test_every_room_of_payments_has_its_step():
    rooms = {name.split(".")[1] for name in MODULES if name.startswith("payments.")}
    assert rooms - {"__init__", "sandbox"} == {room for rooms in STEPS for room in rooms}


@pytest.mark.parametrize(
    "forbidden", ["django.db.models", "payments.models", "payments.moves", "orders", "shop.models"]
)
def test_channels_never_meet_a_model(forbidden):
    wrong = [
        (a, b) for a, b in EDGES if a.startswith("payments.channels.") and f"{b}.".startswith(f"{forbidden}.")
    ]
    assert wrong == []


def test_the_sandbox_imports_nothing_of_ours():
    ours = [(a, b) for a, b in EDGES if a.startswith("payments.sandbox") and floor_of(b) is not None]
    assert [edge for edge in ours if not edge[1].startswith("payments.sandbox")] == []
    assert not [
        edge for edge in EDGES if edge[0].startswith("payments.sandbox") and edge[1].startswith("django")
    ]


def test_only_the_sandbox_command_imports_the_sandbox():
    importers = {
        a for a, b in EDGES if b.startswith("payments.sandbox") and not a.startswith("payments.sandbox")
    }
    assert importers <= {"payments.management.commands.sandbox"}


def test_only_moves_write_a_status():
    writers = set()
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Attribute) and target.attr == "status" for target in node.targets
            ):
                writers.add(name)
            is_update = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"update", "_write"}
            if is_update and any(keyword.arg == "status" for keyword in node.keywords):
                writers.add(name)
    # The last is the status code of an answer.
    others = ("payments.sandbox", "payments.channels", "shop.idempotency")
    ours = {name for name in writers if not name.startswith(others)}
    assert ours <= WRITERS
