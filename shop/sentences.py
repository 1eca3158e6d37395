"""Sentences that wait for who reads them: told in that person's language, and kept in English whoever was at work.

A sentence becomes text as late as can be. What was kept once is never translated again.
"""

from django.utils.functional import Promise, lazy
from django.utils.translation import gettext as _

from shop.languages import ENGLISH, speaking
from shop.money import for_people

Words = str | Promise
"""A text, or one that is looked up in the language of whoever reads it."""


def _fill(words: Words, facts: dict[str, object]) -> str:
    return str(words) % facts


_fill_lazily = lazy(_fill, str)
_tell_money_lazily = lazy(for_people, str)
_lower_lazily = lazy(lambda words: str(words).lower(), str)


def say(words: Words, **facts: object) -> str:
    """The sentence with its facts, which may be lazy too. A lazy string: good wherever a string is."""
    return _fill_lazily(words, facts)


def money(amount_minor: int, currency: str) -> str:
    """An amount as a fact of a sentence."""
    return _tell_money_lazily(amount_minor, currency)


def lower(words: Words) -> str:
    """Words that stand inside a sentence."""
    return _lower_lazily(words)


def in_english(words: Words | Exception) -> str:
    """The sentence as it is kept."""
    with speaking(ENGLISH):
        return str(words)


def together(*sentences: Words) -> str:
    """Whole sentences, one after the other, as the reader's language sets them; empty ones are left out."""
    return _join_lazily(*sentences)


def _join(*sentences: Words) -> str:
    told = ""
    for sentence in filter(None, map(str, sentences)):
        told = _("%(told)s %(next)s") % {"told": told, "next": sentence} if told else sentence
    return told


_join_lazily = lazy(_join, str)
