"""`manage.py webhooks`: the endpoints of other systems, and what the back office may do about them."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count, Q

from payments.deeds.records import record_command
from payments.management.actors import add_actor, read_actor
from shop.models import Delivery, Endpoint
from shop.sentences import in_english
from shop.webhooks.addresses import BadAddress, host_of
from shop.webhooks.endpoints import Made, add_endpoint, change_address, rotate_secret, send_test
from shop.webhooks.errors import BadTime, EndpointError, EndpointNotFound
from shop.webhooks.signing import OLD_FOR_H
from shop.webhooks.switching import find_endpoint, remove_endpoint, resend_dead, switch_off_by_hand, switch_on

Result = dict[str, Any]


class Command(BaseCommand):
    help = (
        "List the endpoints of other systems, add one, move it to another address, change its secret, switch it, send a"
        " test or what was given up again, remove it. Exit 1 when an endpoint is not well, or it could not be done; 2 when it makes no sense."
    )
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("act", nargs="?", default="list", choices=["list", "add", *ACTS])
        parser.add_argument("which", nargs="?", default="", metavar="NUMBER", help="or the URL to add")
        parser.add_argument("url", nargs="?", default="", metavar="URL", help="move: where it is from now on")
        parser.add_argument("--note", default="", help="add: which system it is")
        parser.add_argument(
            "--type", action="append", default=[], dest="types", metavar="T", help="add: of this only; repeat"
        )
        parser.add_argument("--since", default=None, metavar="TIME", help="resend: ISO 8601, given up since")
        parser.add_argument(
            "--old-for",
            type=int,
            default=OLD_FOR_H,
            metavar="HOURS",
            dest="old_for_h",
            help="rotate: so long the present secret signs as well; 0 ends it and every former one at once",
        )
        add_actor(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        act = options["act"]
        _check_words(act, options)
        if act == "list":
            self._list(as_json=options["json"])
            return
        options["since"], by = _read_time(options["since"]), read_actor(options)
        try:
            result = (
                _add(options) if act == "add" else ACTS[act](find_endpoint(options["which"]).number, options)
            )
        except (EndpointNotFound, BadAddress, BadTime) as error:
            raise CommandError(in_english(error), returncode=2) from error
        except EndpointError as error:
            raise CommandError(in_english(error), returncode=1) from error
        except ValueError as error:
            raise CommandError(f"{error} is not known.", returncode=2) from error
        _record(act, options, result, actor=by)
        print(json.dumps(result) if options["json"] else "  ".join(map(str, result.values())))
        if result.get("taken") is False:
            raise SystemExit(1)

    def _list(self, *, as_json: bool) -> None:
        rows = [_as_json(endpoint) for endpoint in _list_living()]
        if as_json:
            print(json.dumps(rows))
        elif not rows:
            print("No other system is told of anything.")
        else:
            print(f"{'number':<14}{'state':<14}{'waiting':>8}{'given up':>10}  {'host':<32}note")
            for row in rows:
                counts = f"{row['waiting']:>8}{row['given_up']:>10}"
                print(f"{row['number']:<14}{row['state']:<14}{counts}  {row['host']:<32}{row['note']}")
        if any(row["state"] != "well" for row in rows):
            raise SystemExit(1)


def _record(act: str, options: Any, result: Result, *, actor: str) -> None:
    """For the history, which keeps no secret and of an address its host only."""
    if act == "add":
        told = {"host": host_of(options["which"])}
    elif act == "rotate":
        told = {"old_for_h": options["old_for_h"]}
    else:
        told = {name: value for name, value in result.items() if name != "number"}
    words = " ".join(f"{name}={value}" for name, value in told.items())
    record_command(ACTIONS[act], subject=result["number"], result=words, actor=actor)


def _check_words(act: str, options: Any) -> None:
    """As many words as the act has a use for, no more and no fewer."""
    wanted = {"list": 0, "move": 2}.get(act, 1)
    if wanted and not options["which"]:
        raise CommandError("Which one? Name its number, or the URL to add.", returncode=2)
    if wanted > 1 and not options["url"]:
        raise CommandError("Where to? Name the URL behind the number.", returncode=2)
    given = [word for word in (options["which"], options["url"]) if word]
    if len(given) > wanted:
        raise CommandError(f"{given[wanted]!r} has no meaning for {act}.", returncode=2)


def _read_time(text: str | None) -> datetime | None:
    example = "like 2026-03-01T14:30:00+08:00"
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--since: {text!r} is no time; write one {example}.", returncode=2) from None
    if moment.tzinfo is None:
        raise CommandError(f"--since needs a zone, {example}.", returncode=2)
    return moment


def _list_living() -> list[Any]:
    counted = Endpoint.objects.annotate(
        waiting=Count("deliveries", filter=Q(deliveries__status=Delivery.Status.WAITING)),
        given_up=Count("deliveries", filter=Q(deliveries__status=Delivery.Status.DEAD)),
    )
    return list(counted.filter(removed_at__isnull=True).order_by("pk"))


def _as_json(endpoint: Any) -> Result:
    state = "off" if endpoint.off_at else "failing" if endpoint.failing_since else "well"
    return {
        "number": endpoint.number,
        "state": state,
        "why": endpoint.off_why,
        "waiting": endpoint.waiting,
        "given_up": endpoint.given_up,
        "host": host_of(endpoint.url),
        "note": endpoint.note,
        "types": endpoint.types,
    }


def _add(options: Any) -> Result:
    return _tell(add_endpoint(options["which"], note=options["note"][:100], types=options["types"]))


def _rotate(number: str, options: Any) -> Result:
    return _tell(rotate_secret(number, old_for_h=options["old_for_h"]))


def _move(number: str, options: Any) -> Result:
    change_address(number, options["url"])
    return {"number": number, "state": "moved", "host": host_of(options["url"])}


def _tell(made: Made) -> Result:
    """The one time that the secret is told."""
    return {"number": made.endpoint.number, "secret": made.secret}


def _switch_on(number: str, options: Any) -> Result:
    return {"number": number, "state": "on", "waiting": switch_on(number)}


def _switch_off(number: str, options: Any) -> Result:
    switch_off_by_hand(number)
    return {"number": number, "state": "off"}


def _test(number: str, options: Any) -> Result:
    answer = send_test(number)
    return {"number": number, "answer": str(answer), "taken": answer.is_taken}


def _resend(number: str, options: Any) -> Result:
    return {"number": number, "waiting_again": resend_dead(number, since=options["since"])}


def _remove(number: str, options: Any) -> Result:
    remove_endpoint(number)
    return {"number": number, "state": "removed"}


ACTS: dict[str, Callable[[str, Any], Result]] = {
    "move": _move,
    "rotate": _rotate,
    "on": _switch_on,
    "off": _switch_off,
    "test": _test,
    "resend": _resend,
    "remove": _remove,
}
# As the history of the back office calls them.
ACTIONS = {
    "add": "add_endpoint",
    "move": "move_endpoint",
    "rotate": "rotate_secret",
    "on": "switch_on_endpoint",
    "off": "switch_off_endpoint",
    "test": "test_endpoint",
    "resend": "resend_dead",
    "remove": "remove_endpoint",
}
