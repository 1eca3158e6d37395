"""`manage.py api_keys [list|make|rotate|revoke]`: the keys of other systems, for whoever runs the machine."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from payments.deeds.records import record_command
from payments.management.actors import add_actor, read_actor
from shop.clock import read_now
from shop.keyring import (
    OLD_FOR_H,
    Issued,
    KeyRefused,
    Scope,
    list_ending,
    make_key,
    revoke_key,
    rotate_key,
)
from shop.models import ApiKey


class Command(BaseCommand):
    help = "List API keys (exit 1 when one ends soon or has ended), make, rotate or revoke one."
    # One channel's bad setting must not stop what guards the others' money.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_actor(parser)
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.set_defaults(deed="list")
        deeds = parser.add_subparsers(dest="deed", metavar="list|make|rotate|revoke")
        deeds.add_parser("list", help="every key that is not revoked")
        make = deeds.add_parser("make", help="a new key, shown once")
        make.add_argument("name", metavar="NAME", help="which system it is")
        make.add_argument("--scope", action="append", required=True, choices=Scope.values, dest="scopes")
        make.add_argument("--owner", metavar="USER", help="the member of the staff who answers for it")
        make.add_argument("--days", type=int, metavar="N", help="how long it counts; without it for ever")
        rotate = deeds.add_parser("rotate", help="another secret, shown once")
        rotate.add_argument("number", metavar="NUMBER")
        rotate.add_argument("--old-for", type=int, default=OLD_FOR_H, metavar="HOURS", dest="old_for_h")
        revoke = deeds.add_parser("revoke", help="let nobody in by it any more")
        revoke.add_argument("number", metavar="NUMBER")
        for deed in deeds.choices.values():  # also behind the deed
            deed.add_argument("--json", action="store_true", default=False, dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        self.as_json = bool(options["json"] or options.get("as_json"))
        self.by = read_actor(options)
        deed = options["deed"] or "list"
        try:
            getattr(self, f"do_{deed}")(options)
        except KeyRefused as error:
            raise CommandError(str(error), returncode=2) from error

    def do_list(self, options: dict[str, Any]) -> None:
        keys = ApiKey.objects.filter(revoked_at=None).select_related("owner")
        rows = [key_as_json(key) for key in keys]
        if self.as_json:
            print(json.dumps(rows))
        elif not rows:
            print("There are no API keys.")
        for row in [] if self.as_json else rows:
            ends, used = (str(row[name] or "-")[:16] for name in ("expires_at", "last_used_at"))
            print(f"{row['number']:<14}{row['name']:<24}{ends:<18}{used:<18}{' '.join(row['scopes'])}")
        if list_ending():
            raise SystemExit(1)

    def do_make(self, options: dict[str, Any]) -> None:
        days, name = options["days"], options["owner"]
        if days is not None and not 1 <= days <= 3650:
            raise CommandError("--days is 1 to 3650.", returncode=2)
        owner = User.objects.filter(username=name).first() if name else None
        if name and owner is None:
            raise CommandError(f"There is no user {name}.", returncode=2)
        ends = read_now() + timedelta(days=days) if days else None
        issued = make_key(options["name"], options["scopes"], owner=owner, expires_at=ends)
        self._record("make_key", issued.key, f"{issued.key.name}: {' '.join(issued.key.scopes)}")
        self._show(issued)

    def do_rotate(self, options: dict[str, Any]) -> None:
        issued = rotate_key(options["number"], old_for_h=options["old_for_h"])
        self._record("rotate_key", issued.key, f"old_for_h={options['old_for_h']}")
        self._show(issued)

    def do_revoke(self, options: dict[str, Any]) -> None:
        key = revoke_key(options["number"])
        self._record("revoke_key", key, key.name)
        print(json.dumps(key_as_json(key)) if self.as_json else f"{key.number} {key.name} is revoked.")

    def _record(self, action: str, key: ApiKey, result: str) -> None:
        record_command(action, subject=key.number, result=result, actor=self.by)

    def _show(self, issued: Issued) -> None:
        if self.as_json:
            print(json.dumps(key_as_json(issued.key) | {"key": issued.shown}))
        else:
            print(f"{issued.shown}\nIt is shown only this once: Authorization: Api-Key {issued.shown}")


def key_as_json(key: ApiKey) -> dict[str, Any]:
    """What may be told of a key: everything but its secret."""
    return {
        "number": key.number,
        "name": key.name,
        "scopes": key.scopes,
        "owner": key.owner.get_username() if key.owner else None,
        "expires_at": _iso(key.expires_at),
        "last_used_at": _iso(key.last_used_at),
        "revoked_at": _iso(key.revoked_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
