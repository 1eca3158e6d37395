"""Calls in the name of one REST app of PayPal: its token, what stands in every header, and what an error answer says.

A token is fetched when there is none, and once more when PayPal no longer takes it. Nothing is repeated otherwise.
Source: "Get started with PayPal REST APIs" and "API responses" (developer.paypal.com, read November 2026).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .base import ChannelError, Unanswered, Unreachable
from .fields import BadField, parse_json, read_word
from .paypal_reading import word_or_none
from .wire import Reply, Wire

MISSING = frozenset({"RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID"})
TOKEN_MARGIN = timedelta(minutes=1)  # fetched anew so long before it expires


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer over TLS: `data` of a 2xx; else `code`, the first issue or the error's name, and `name`. Status 0 is none."""

    status: int
    data: Mapping[str, Any]
    code: str = ""
    name: str = ""

    @property
    def is_done(self) -> bool:
        return self.status in (200, 201)

    @property
    def is_missing(self) -> bool:
        """PayPal itself, not some proxy, says that there is no such thing."""
        return self.status == 404 and bool({self.code, self.name} & MISSING)


class Account:
    """One REST app. Safe to share between threads: a token that is fetched twice harms nobody."""

    def __init__(
        self,
        *,
        base_url: str,
        client_id: str,
        client_secret: str,
        wire: Wire,
        clock: Callable[[], datetime],
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._secret = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._wire, self._clock = wire, clock
        self._token: tuple[str, datetime] | None = None

    def try_(self, *call: Any, **options: Any) -> Answer:
        """`ask`, with a failure as an answer that decides nothing."""
        try:
            return self.ask(*call, **options)
        except ChannelError as error:
            return Answer(status=0, data={}, code=error.code)

    def ask(
        self,
        method: str,
        path: str,
        operation: str,
        number: str = "",
        content: Mapping[str, Any] | bytes | None = None,
        *,
        request_id: str = "",
        wire: Wire | None = None,
    ) -> Answer:
        """Send one call, by another `wire` where its answer is large. Raises Unreachable or Unanswered.

        `request_id` is the PayPal-Request-Id: under the same one PayPal does the same thing once.
        """
        body = content if isinstance(content, bytes | None) else json.dumps(content).encode()
        code = ""
        for _ in range(2):
            reply = (wire or self._wire).send(
                method,
                self._base_url + path,
                headers=self._headers(request_id),
                body=body,
                operation=operation,
                number=number,
                code_of=_error_code,
            )
            if reply.status != 401:
                return _read_answer(reply)
            self._token, code = None, _error_code(reply)
        raise Unreachable("PayPal takes no token of this app", code=code or "no_token")

    def _headers(self, request_id: str) -> dict[str, str]:
        headers = {
            "Authorization": f"Bearer {self._find_token()}",
            "Accept": "application/json",
            "Content-Type": "application/json",
            "Prefer": "return=representation",  # a short answer has no captures
            "User-Agent": "nodrop",
        }
        return headers | ({"PayPal-Request-Id": request_id} if request_id else {})

    def _find_token(self) -> str:
        """The token of this process. Raises Unreachable when none can be had: what wanted it was not sent."""
        kept, now = self._token, self._clock()
        if kept is not None and now < kept[1]:
            return kept[0]
        try:
            answer = _read_answer(self._fetch_token())
            token, life = _read_token(answer)
        except (Unanswered, BadField) as error:
            raise Unreachable("PayPal gave no token", code="no_token") from error
        self._token = token, now + life - TOKEN_MARGIN
        return token

    def _fetch_token(self) -> Reply:
        return self._wire.send(
            "POST",
            f"{self._base_url}/v1/oauth2/token",
            headers={
                "Authorization": f"Basic {self._secret}",
                "Accept": "application/json",
                "Content-Type": "application/x-www-form-urlencoded",
                "User-Agent": "nodrop",
            },
            body=b"grant_type=client_credentials",
            operation="token",
            code_of=_error_code,
        )


def _read_token(answer: Answer) -> tuple[str, timedelta]:
    if not answer.is_done:
        raise Unreachable("PayPal gave no token", code=answer.code)
    seconds = answer.data.get("expires_in")
    if type(seconds) is not int or not 1 <= seconds <= 10**7:
        raise BadField("expires_in")
    return read_word(answer.data, "access_token", limit=4000), timedelta(seconds=seconds)


def _read_answer(reply: Reply) -> Answer:
    """An answer as far as its status lets it say anything. Raises Unanswered for a 2xx that cannot be read."""
    if 200 <= reply.status < 300:
        try:
            return Answer(status=reply.status, data=parse_json(reply.body))
        except BadField as error:
            raise Unanswered("the answer cannot be read", code="malformed") from error
    code = _error_code(reply) or f"HTTP{reply.status}"
    return Answer(status=reply.status, data={}, code=code, name=word_or_none(_error_of(reply), "name"))


def _error_code(reply: Reply) -> str:
    """The first issue of an error answer, else its name, safe to store and to log; "" when there is none."""
    error = _error_of(reply)
    details = error.get("details")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    return word_or_none(first, "issue") or word_or_none(error, "name") or word_or_none(error, "error")


def _error_of(reply: Reply) -> Mapping[str, Any]:
    if 200 <= reply.status < 300:
        return {}
    try:
        return parse_json(reply.body)
    except BadField:
        return {}
