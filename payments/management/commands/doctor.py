"""`manage.py doctor`: configuration, keys, clocks, reachability, schedules, workers."""

import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from payments.doctor import Finding, Verdict, examine

MARKS = {Verdict.FINE: "ok", Verdict.WARNING: "warn", Verdict.WRONG: "WRONG"}


class Command(BaseCommand):
    help = "Look at everything that money depends on. Exit 1 when something is wrong."
    # What the checks find is part of what it tells, and must not stop it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["json"]:
            findings = list(examine())
            print(json.dumps([finding.as_json() for finding in findings]))
        else:
            findings = list(_tell(examine()))
        if any(finding.verdict is Verdict.WRONG for finding in findings):
            raise SystemExit(1)


def _tell(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Each line as soon as it is known: a channel that does not answer takes seconds."""
    for finding in findings:
        print(f"{MARKS[finding.verdict]:<6}{finding.subject:<24}{finding.detail}", flush=True)
        if finding.hint:
            print(f"{'':<30}{finding.hint}", flush=True)
        yield finding
