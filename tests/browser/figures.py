"""What the browser tests measure, told in two lines at the end of the run, whoever of xdist measured it."""

from typing import Any

AXE = "axe"
WEIGHT = "weight"


def tell_figures(terminalreporter: Any) -> None:
    """Print what the tests gave as their properties; nothing when none of them ran."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    told = [(name, value) for report in reports for name, value in report.user_properties]
    axe = [value for name, value in told if name == AXE]
    weights = [value for name, value in told if name == WEIGHT]
    if not (axe or weights):
        return
    terminalreporter.section("the shopper's pages")
    if axe:
        terminalreporter.line(_axe_line(axe))
    for files in weights:
        terminalreporter.line(_weight_line(files))


def _axe_line(axe: list[dict[str, int]]) -> str:
    """Each of `axe` is one group of states: pages, runs, violations."""
    pages, runs, violations = (sum(each[name] for each in axe) for name in ("pages", "runs", "violations"))
    return f"axe: {pages} pages in light and dark, {runs} runs, {violations} violations"


def _weight_line(files: list[dict[str, Any]]) -> str:
    """`files`: name, bytes on the wire with their headers, encoding; the page first."""
    each = ", ".join(f"{file['name']} {file['bytes']:,} ({file['encoding']})" for file in files)
    total = sum(file["bytes"] for file in files)
    return f"pay page: {total:,} bytes in {len(files)} requests: {each}"
