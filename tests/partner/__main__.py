"""`python -m tests.partner --port P --ledger FILE --secret S --shop URL --key K`: a receiver of the shop's events.

It verifies each message, keeps what came in a ledger of its own (SQLite), and applies an event exactly once and in order
within its order. Where one is missing it asks the shop's feed. `GET /ledger` shows what was applied; a file beside the
ledger, `plan`, lets it misbehave: die before or after applying, be slow, answer 500.
"""

import argparse
import json
import os
import sqlite3
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

TABLES = """
create table if not exists applied (
    id text primary key, stream text not null, sequence integer not null, type text not null,
    unique (stream, sequence));
create table if not exists read_up_to (position integer not null);
"""
DIED = 9


class Ledger:
    """What was applied. The mark and the effect are one transaction, so a crash leaves both or neither."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = full")
        self.connection.executescript(TABLES)

    def is_known(self, event: dict[str, Any]) -> bool:
        found = self.connection.execute("select 1 from applied where id = ?", [event["id"]])
        return found.fetchone() is not None

    def next_of(self, stream: str) -> int:
        last = self.connection.execute("select max(sequence) from applied where stream = ?", [stream])
        return int(last.fetchone()[0] or 0) + 1

    def apply(self, event: dict[str, Any]) -> None:
        row = [event["id"], stream_of(event), event["sequence"], event["type"]]
        self.connection.execute("insert into applied values (?, ?, ?, ?)", row)

    def all(self) -> list[list[Any]]:
        return [list(row) for row in self.connection.execute("select * from applied order by rowid")]

    def position(self) -> int:
        found = self.connection.execute("select max(position) from read_up_to").fetchone()
        return int(found[0] or 0)

    def note_position(self, position: int) -> None:
        self.connection.execute("insert into read_up_to values (?)", [position])


def stream_of(event: dict[str, Any]) -> str:
    """Events that are about no order stand alone, each in a stream of its own subject."""
    return str(event["order"] or f"{event['type']}:{event['id']}")


class Receiver:
    """What is done with an event, however it came."""

    def __init__(self, ledger: Ledger, webhook: Webhook, shop: str, key: str, plan: Path) -> None:
        self.ledger, self.webhook, self.shop, self.key, self.plan = ledger, webhook, shop, key, plan

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """The status to answer with. Raises WebhookVerificationError."""
        event = self.webhook.verify(body, headers)
        if event["type"] == "webhook.test":
            return 204
        if event["order"] is not None and event["sequence"] > self.ledger.next_of(event["order"]):
            self.catch_up()
        self.take_event(event)
        return 204

    def take_event(self, event: dict[str, Any]) -> None:
        """Once, and nothing twice."""
        if self.ledger.is_known(event):
            return
        self.misbehave("before")
        if event["order"] is not None and event["sequence"] != self.ledger.next_of(event["order"]):
            raise LookupError("an earlier event of this order has not come yet")
        self.ledger.apply(event)
        self.misbehave("after")

    def catch_up(self) -> None:
        """Read the feed on from where it was read to, to its end."""
        while True:
            page = self.ask(f"{self.shop}/api/v1/events?after={self.ledger.position()}")
            for event in page["events"]:
                self.take_event(event)
            self.ledger.note_position(page["next"])
            if not page["has_more"]:
                return

    def ask(self, url: str) -> Any:
        request = urllib.request.Request(url, headers={"Authorization": f"Api-Key {self.key}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def misbehave(self, moment: str) -> None:
        """Do the next thing of the plan, if its moment is now: "before", "after", "500" or "slow"."""
        planned = self.plan.read_text().split() if self.plan.exists() else []
        if not planned or planned[0] != moment:
            return
        self.plan.write_text(" ".join(planned[1:]))
        if moment in ("before", "after"):
            os._exit(DIED)
        if moment == "slow":
            time.sleep(3)
        if moment == "500":
            raise RuntimeError("planned")


def make_handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            try:
                receiver.misbehave("500")
                receiver.misbehave("slow")
                status = receiver.take(body, dict(self.headers.items()))
            except WebhookVerificationError:
                status = 401
            except Exception as error:  # noqa: BLE001 - whatever it was: it was not taken, and comes again
                self.log_error("%s", error)
                status = 500
            self.answer(status)

        def do_GET(self) -> None:
            if self.path == "/catch-up":
                receiver.catch_up()
            self.answer(200, json.dumps(receiver.ledger.all()).encode())

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("port", "ledger", "secret", "shop", "key"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    path = Path(given.ledger)
    receiver = Receiver(Ledger(path), Webhook(given.secret), given.shop, given.key, path.with_suffix(".plan"))
    HTTPServer(("127.0.0.1", int(given.port)), make_handler(receiver)).serve_forever()


if __name__ == "__main__":
    main()
