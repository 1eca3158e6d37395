"""The partner of the soak: told of everything that happens, killed at random, and started again.

At the end its ledger must equal the shop's business events, each once and in order within its order.
"""

import json
import random
import threading
from collections import defaultdict
from contextlib import suppress

import psycopg
import requests

from tests.partner.process import Partner
from tests.soak.installation import Installation
from tests.waiting import wait_until

# Between two deaths it lives, and stays dead, for up to so long.
UP_S, DOWN_S = 4.0, 2.0
TOLD_WITHIN_S = 180
EVENTS = "select number, stream, sequence from shop_businessevent"


class Told:
    """The partner's process, and what becomes of it, by a seed."""

    def __init__(self, installation: Installation, *, seed: int) -> None:
        self.installation = installation
        folder = installation.data_dir.parent / "partner"
        folder.mkdir()
        self.partner = Partner(folder, installation.shop)
        self.random = random.Random(f"{seed}/partner")
        self.endpoint = ""
        self.deaths = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partner")

    def start(self) -> None:
        """Be told of everything from now on."""
        made = self.installation.manage("webhooks", "add", self.partner.url, "--note=partner", "--json")
        told = json.loads(made.stdout)
        self.endpoint, self.partner.secret = told["number"], told["secret"]
        self._thread.start()

    def stop(self) -> None:
        """Die no more."""
        self._stop.set()
        self._thread.join()

    def find_untold(self) -> list[str]:
        """What the partner does not know, or knows wrongly, when everything has come to rest. It is ended afterwards."""
        self.partner.start()
        # As an operator would who does not want to wait for the next try of each event.
        for act in ("off", "on"):
            self.installation.manage("webhooks", act, self.endpoint)
        try:
            with suppress(AssertionError):  # what is still missing then is told
                wait_until(self._knows_all, within_s=TOLD_WITHIN_S, every_s=0.5)
            return self._compare()
        finally:
            self.partner.kill()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.partner.start()
            if self._stop.wait(self.random.uniform(0.5, UP_S)):
                return
            self.partner.kill()
            self.deaths += 1
            self._stop.wait(self.random.uniform(0, DOWN_S))

    def _knows_all(self) -> bool:
        with suppress(psycopg.Error, requests.RequestException):
            known = {number for number, *_ in self.partner.ledger()}
            return known >= {number for number, *_ in self.installation.ask(EVENTS)}
        return False

    def _compare(self) -> list[str]:
        applied = self.partner.ledger()
        known, events = {each[0] for each in applied}, self.installation.ask(EVENTS)
        found = [
            f"partner: never heard of {number} ({stream})"
            for number, stream, _ in events
            if number not in known
        ]
        if len(known) != len(applied):
            found.append("partner: something was applied twice")
        sequences = defaultdict(list)
        for _number, stream, sequence, _type in applied:
            sequences[stream].append(sequence)
        return found + [
            f"partner: {stream} out of order" for stream, each in sequences.items() if each != sorted(each)
        ]
