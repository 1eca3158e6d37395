"""What stands behind the `?` of an API call: named parameters only, each once, each in the one way it is written.

`1_0`, ` 5` and `٣` are numbers to Python's `int`, and to no client that means what it says.
"""

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import ValidationError

from shop.numbers import is_number

Reader = Callable[[str], Any]

MOMENT = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def read_query(request: HttpRequest, **readers: Reader) -> dict[str, Any]:
    """The parameters that are there, by name. Raises a ValidationError that names each wrong one: it is not known, it stands
    twice, or its reader says in a ValueError what it should be.
    """
    found: dict[str, Any] = {}
    wrong: dict[str, list[str]] = {}
    for name, texts in request.GET.lists():
        try:
            found[name] = _read(readers.get(name), texts)
        except ValueError as error:
            wrong[name] = [str(error)]
    if wrong:
        raise ValidationError(wrong)
    return found


def _read(reader: Reader | None, texts: list[str]) -> Any:
    if reader is None:
        raise ValueError(_("This parameter is not known."))
    if len(texts) > 1:
        raise ValueError(_("This parameter may be given once."))
    return reader(texts[0])


def whole(*, least: int = 0, most: int) -> Reader:
    """A reader of whole numbers in ASCII digits."""

    def read(text: str) -> int:
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not (is_number and least <= int(text) <= most):
            words = _("This must be a whole number from %(least)d to %(most)d.")
            raise ValueError(words % {"least": least, "most": most})
        return int(text)

    return read


def one_of(choices: Collection[str]) -> Reader:
    """A reader of one of these words, in their own spelling."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(_("This must be one of: %(choices)s.") % {"choices": ", ".join(choices)})
        return text

    return read


def number(text: str) -> str:
    """A public number of ours, as `shop.numbers` makes them."""
    if not is_number(text):
        raise ValueError(_("This is no number of this shop."))
    return text


def moment(text: str) -> datetime:
    """A moment with its offset, from the year 1000 to 2999."""
    try:
        if MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise ValueError(_("This must be a time with its offset, as 2026-11-22T12:00:00Z."))
