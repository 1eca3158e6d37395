"""The languages of shoppers, mails and the API, and how lists and moments read in the one that is spoken now.

What a person is told is said in that one; what is stored, logged or sent to a channel is English. Amounts: `shop.money`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, tzinfo
from functools import cache
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_datetime, get_timezone_name
from babel.lists import format_list
from django.conf import settings
from django.utils import translation

ENGLISH = "en"
LANGUAGES: tuple[tuple[str, str], ...] = ((ENGLISH, "English"), ("zh-hans", "简体中文"))
CODES = frozenset(code for code, _ in LANGUAGES)

# Day first and twenty-four hours in both; CLDR's "en" has it the American way, and its "en-GB" knows a "Sept".
CLOCK = "HH:mm"
DAYS = {"en": "d MMM", "zh-hans": "M月d日"}
LONG_DAYS = {"en": "d MMMM y", "zh-hans": "y年M月d日"}
# "A, B and C": without the comma that CLDR's "en" writes before the last.
LISTS = {"en": "en_001"}


def current() -> str:
    """The code of the language that is spoken now; English where none of ours is."""
    code = translation.get_language()
    return code if code in CODES else ENGLISH


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak the language of this code until the end of the block; English for a code that is none of ours."""
    with translation.override(code if code in CODES else ENGLISH):
        yield


def tag() -> str:
    """What HTML calls the language: "en", "zh-Hans"."""
    return tag_of(current())


def tag_of(code: str) -> str:
    """ "zh-hans" → "zh-Hans", as BCP 47 writes a script."""
    language, _, script = code.partition("-")
    return f"{language}-{script.title()}" if script else language


def locale() -> Locale:
    """What Babel knows of the language."""
    return _locale_named(translation.to_locale(current()))


def join_names(names: Iterable[object]) -> str:
    """ "A, B and C", "A、B和C": each of them once."""
    code = current()
    named = _locale_named(LISTS.get(code, translation.to_locale(code)))
    return format_list(list(dict.fromkeys(map(str, names))), locale=named)


def clock(at: datetime) -> str:
    """ "12:04", of the shop's zone as everything below; a moment without a zone is shown as it is."""
    return _shown(at, CLOCK)


def day(at: date) -> str:
    """ "22 Nov", "11月22日"."""
    return _shown(at, DAYS[current()])


def day_clock(at: datetime) -> str:
    """ "22 Nov 12:04", "11月22日 12:04"."""
    return _shown(at, f"{DAYS[current()]} {CLOCK}")


def long_day(at: date) -> str:
    """ "22 November 2026", "2026年11月22日"."""
    return _shown(at, LONG_DAYS[current()])


def zone_name(at: datetime) -> str:
    """What people call the zone of this moment, which may have a summer time: "China Standard Time", "中国标准时间"."""
    return get_timezone_name(at.astimezone(_zone(settings.DISPLAY_TIME_ZONE)), locale=locale())


def _shown(at: date, pattern: str) -> str:
    moment = at if isinstance(at, datetime) else datetime(at.year, at.month, at.day)  # noqa: DTZ001 - a day has no zone
    if moment.tzinfo is not None:
        moment = moment.astimezone(_zone(settings.DISPLAY_TIME_ZONE)).replace(tzinfo=None)
    return format_datetime(moment, pattern, locale=locale())


@cache
def _zone(name: str) -> tzinfo:
    return ZoneInfo(name)


@cache
def _locale_named(name: str) -> Locale:
    return Locale.parse(name)
