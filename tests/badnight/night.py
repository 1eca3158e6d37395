"""The night after: every statement reconciled with `--fix`, alarms handled, all of it again, and once more when the channels
have put their books right. What is found on the way is kept for the verdict.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from django.core.management import CommandError, call_command
from django.db.models import Count
from django.db.models.functions import Now

from payments.audit import audit, audit_trades
from payments.models import Case, Payment, Receipt, Refund
from shop.alarms import claim_due, handle
from shop.models import Alarm
from tests.badnight.books import LIE_MINOR, SPOILS, Books, Line, read_lines, spoiling
from tests.badnight.crew import Crew, crew
from tests.badnight.day import SILENCE, Day
from tests.badnight.plays import WAYS, Kind, Play, throw
from tests.sandbox_process import SandboxProcess

# What waits for nobody's next step: it is looked at now and then.
RESTING = ("query_payment", "recheck_payment", "expire_order")
HANDLED_AT_ONCE = 60
# A refund is sent in one round and has ended in the next.
ROUNDS = 8
# Of the day after there are so many payments by each channel, all of them heard of: what waits for the next statement comes.
MORNING = 2


@dataclass
class Night:
    """What a run has done and found. Counts by words; `violations` in sentences."""

    trades: int
    seed: int
    plays: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    given_to_people: int = 0
    receipts: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    left_restated: Counter[str] = field(default_factory=Counter)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    hidden: int = 0
    false: int = 0
    took_s: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def run_night(sandbox: SandboxProcess, trades: int, *, seed: int) -> Night:
    """One night, on an empty shop."""
    with crew() as hands:
        return _Run(sandbox, Night(trades, seed), hands).run()


class _Run:
    def __init__(self, sandbox: SandboxProcess, night: Night, hands: Crew) -> None:
        self.sandbox, self.night, self.hands = sandbox, night, hands
        self.day = Day(sandbox, hands)
        self.plays: list[Play] = []

    def run(self) -> Night:
        self._time("day", self._live)
        books = self._read_books()
        self.sandbox.set_faults(SILENCE | {"script": spoiling()})
        self._time("reconcile", self._first, books)
        self._time("alarms", self._handle_alarms)
        self._time("again", self._again, books)
        self.sandbox.set_faults(SILENCE)
        self._time("restated", self._restate, books)
        return self.night

    def _time(self, what: str, step: Callable[..., None], *words: Any) -> None:
        began = time.monotonic()
        step(*words)
        self.night.took_s[what] = time.monotonic() - began

    # ---- the day ----

    def _live(self) -> None:
        plays = list(throw(self.night.trades, seed=self.night.seed))
        morning = [Play(Kind.TOLD, way, quantity=1, back_minor=0) for way in WAYS for _ in range(MORNING)]
        for part in (plays, morning):
            self.day.live(part)
            self.day.pass_by()
        self.plays = plays + morning
        self.night.plays.update(str(play.kind) for play in plays)

    def _read_books(self) -> Books:
        books = Books(read_lines(self.sandbox.log_file.parent), self.plays)
        self.night.spoilt.update(SPOILS[line.channel] for line in books.spoilt)
        self.night.hidden = sum(map(books.is_hidden, books.lines))
        self.night.false = len(books.list_false())
        return books

    # ---- the night ----

    def _first(self, books: Books) -> None:
        for document in self._reconcile(books):
            self.night.repaired += document["repaired"]["repaired"]
            self.night.given_to_people += document["repaired"]["cases"]
            self.night.found.update(difference["kind"] for difference in document["differences"])
            self._check_fixed(document)

    def _again(self, books: Books) -> None:
        before = _money()
        self._reconcile(books)
        self._expect("reconciling again moved money", before, _money())
        self._expect("people are asked about", books.questions(), _open_cases())
        self._audit(books, is_hidden=books.is_hidden)
        self.night.left = _count_cases()

    def _restate(self, books: Books) -> None:
        self._reconcile(books)
        self._handle_alarms()
        documents = self._reconcile(books)
        self._expect(
            "the books were put right, and people are asked about",
            books.questions(restated=True),
            _open_cases(),
        )
        self._audit(books, is_hidden=lambda _: False)
        self.night.left_restated = _count_cases()
        self.night.receipts.update(
            dict(Receipt.objects.values_list("receipt_class").annotate(Count("pk")).order_by())
        )
        self._sum_up(documents, books)

    def _reconcile(self, books: Books) -> list[dict[str, Any]]:
        """The command for each statement there is. What each of them printed."""
        documents = []
        for channel, day in sorted(books.statements, key=lambda key: (key[1], key[0])):
            try:
                document = _call_reconcile(channel, str(day))
            except CommandError as error:
                self.night.violations.append(f"no statement of {channel} for {day}: {error}")
                continue
            documents.append(document)
            for currency, totals in document["totals"].items():
                if any(totals["rest"].values()):
                    self.night.violations.append(f"{channel} {day} {currency}: rest {totals['rest']}")
        return documents

    def _handle_alarms(self) -> None:
        """Whatever is due, and then what the next step of a refund or a mail waits for."""
        for _ in range(ROUNDS):
            while claims := claim_due(HANDLED_AT_ONCE):
                done = zip(claims, self.hands.each(claims, handle), strict=True)
                self.night.violations += [
                    f"alarm {claim.kind} of {claim.subject} failed" for claim, is_well in done if not is_well
                ]
            waiting = Alarm.objects.exclude(kind__in=RESTING)
            if not waiting.update(due_at=Now()):
                return
        self.night.violations.append(f"alarms do not end: {list(waiting.values_list('kind', 'subject')[:5])}")

    # ---- looking ----

    def _expect(self, what: str, wanted: Sequence[Any], found: Sequence[Any]) -> None:
        more, less = Counter(found) - Counter(wanted), Counter(wanted) - Counter(found)
        self.night.violations += [f"{what}: {each}, which was not expected" for each in more]
        self.night.violations += [f"{what}: not {each}, which was expected" for each in less]

    def _check_fixed(self, document: dict[str, Any]) -> None:
        """The command leaves nothing that neither a machine has repaired nor a person been asked about."""
        self.night.violations += [
            f"{document['channel']} {document['date']}: {difference['kind']} {difference['subject']} is left {difference['state']}"
            for difference in document["differences"]
            if difference["state"] != "case"
        ]

    def _audit(self, books: Books, *, is_hidden: Callable[[Line], bool]) -> None:
        """Against all that the channels took, but for what no statement has shown and nobody can ask about.

        What only a false line has told us of is written down with its amount until a person has looked.
        """
        hidden = {(line.trade_number, line.refund_no) for line in books.lines if is_hidden(line)}
        false = {line.channel_number for line in books.list_false()}
        trades = []
        for trade in self.sandbox.trades():
            if (trade["channel_number"], "") in hidden:
                continue
            back = [
                each
                for each in trade["refunds"]
                if (trade["channel_number"], each["out_refund_no"]) not in hidden
            ]
            is_false = trade["channel_number"] in false
            trades.append(trade | {"refunds": back, "amount": trade["amount"] + LIE_MINOR * is_false})
        self.night.violations += [
            f"audit {found.invariant}: {found.subject} {found.detail}"
            for found in [*audit(), *audit_trades(trades)]
        ]
        unpaid = (
            Payment.objects.filter(receipts__isnull=False)
            .exclude(status="PAID")
            .exclude(receipts__receipt_class="mismatch")
        )
        self.night.violations += [f"{payment.number} has money and is {payment.status}" for payment in unpaid]

    def _sum_up(self, documents: Sequence[dict[str, Any]], books: Books) -> None:
        """By channel and currency over all statements; what they took must be what the ledgers booked."""
        for document in documents:
            for currency, totals in document["totals"].items():
                total = self.night.totals.setdefault(f"{document['channel']} {currency}", Counter())
                total.update({name: totals["theirs"][name] for name in ("sales", "refunds", "fees", "net")})
        booked: Counter[str] = Counter()
        for line in books.lines:
            booked[f"{line.channel} {line.currency}"] += 0 if line.refund_no else line.amount
        told = {name: total["sales"] for name, total in self.night.totals.items()}
        self._expect("the channels' sums", sorted(booked.items()), sorted(told.items()))
        booked.update(f"{line.channel} {line.currency}" for line in books.list_false())  # a minor unit each
        ours: Counter[str] = Counter()
        for channel, currency, amount in Receipt.objects.values_list("channel", "currency", "amount"):
            ours[f"{channel} {currency}"] += amount
        self._expect("our sums", sorted(booked.items()), sorted(ours.items()))


def _call_reconcile(channel: str, day: str) -> dict[str, Any]:
    """`manage.py reconcile … --fix --json`. What it printed."""
    printed = StringIO()
    with redirect_stdout(printed), suppress(SystemExit):  # by which it says that it has found something
        call_command("reconcile", "--channel", channel, "--date", day, "--fix", "--json", "--by", "night")
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


def _open_cases() -> list[tuple[str, str]]:
    return sorted(Case.objects.filter(resolved_at__isnull=True).values_list("kind", "subject"))


def _count_cases() -> Counter[str]:
    counts: Counter[str] = Counter()
    for kind, evidence in Case.objects.filter(resolved_at__isnull=True).values_list("kind", "evidence"):
        counts[f"{kind} {evidence['kind']}" if kind == Case.Kind.BOOKS else kind] += 1
    return counts


def _money() -> list[tuple[Any, ...]]:
    receipts = Receipt.objects.values_list("channel", "channel_number", "receipt_class", "amount", "currency")
    refunds = Refund.objects.values_list("channel", "number", "status", "amount")
    return [*receipts, *refunds]
