"""What may go wrong with an endpoint.

EndpointError
├── EndpointNotFound   there is none, or it was removed
├── EndpointIsThere    another of the same address is living
├── SecretIsFresh      the former secret still counts, and must not be lost to a receiver that has no other
├── BadTime            a former secret may not count for so long
└── NothingToSend      it is in no state for it; the message says why

Messages are lazy: `str(error)` is in the language of whoever asks for it.
"""

from datetime import datetime

from django.utils.translation import gettext_lazy as _

from shop.sentences import Words, say


class EndpointError(Exception):
    """Base of all."""


class EndpointNotFound(EndpointError):
    """No living endpoint has this number."""

    def __init__(self, number: str) -> None:
        super().__init__(say(_("There is no endpoint %(number)s, or it was removed."), number=number))


class EndpointIsThere(EndpointError):
    """Two of one address would be told everything twice."""

    def __init__(self, number: str) -> None:
        super().__init__(say(_("Endpoint %(number)s has this address already."), number=number))


class SecretIsFresh(EndpointError):
    """A receiver may still know only the former secret, which a second change would kill."""

    def __init__(self, until: datetime) -> None:
        words = _(
            "The secret was changed a short time ago, and the former one counts until %(until)s UTC. Wait until then, or"
            " end both at once with 0 hours if nobody has kept the new one."
        )
        super().__init__(say(words, until=f"{until:%Y-%m-%d %H:%M}"))


class BadTime(EndpointError):
    """For so many hours no former secret counts."""

    def __init__(self, most_h: int) -> None:
        super().__init__(say(_("The old secret may count for 0 to %(most)d hours."), most=most_h))


class NothingToSend(EndpointError):
    """The message says why."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
