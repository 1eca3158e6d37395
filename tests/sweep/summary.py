"""The sweep's own count: one line for each flow and one for all, at the end of the run, whoever of xdist made it."""

from collections import Counter
from typing import Any

PROPERTY = "sweep"


def count(flow: str, points: int, visited: Counter[str], wrong: int) -> dict[str, Any]:
    """What one flow's sweep has to tell; JSON, because it travels from worker to controller."""
    return {"flow": flow, "points": points, "visited": dict(visited), "wrong": wrong}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the counts that the tests gave as their property."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    counts = [value for report in reports for name, value in report.user_properties if name == PROPERTY]
    if not counts or hasattr(terminalreporter.config, "sweep_is_told"):
        return
    terminalreporter.config.sweep_is_told = True
    terminalreporter.section("crash and pause sweep")
    for told in sorted(counts, key=lambda told: str(told["flow"])):
        terminalreporter.line(_line(told))
    terminalreporter.line(_total(counts))


def _line(told: dict[str, Any]) -> str:
    deeds = ", ".join(f"{deed} {visits}" for deed, visits in sorted(told["visited"].items()))
    return f"{told['flow']}: {told['points']} points; {deeds}; {_survived(told['wrong'])}"


def _total(counts: list[dict[str, Any]]) -> str:
    points, wrong = sum(told["points"] for told in counts), sum(told["wrong"] for told in counts)
    visits = sum(sum(told["visited"].values()) for told in counts)
    return f"{points} points × deeds = {visits} visits in {len(counts)} flows, {_survived(wrong)}"


def _survived(wrong: int) -> str:
    return f"{wrong} DID NOT SURVIVE" if wrong else "all survived"
