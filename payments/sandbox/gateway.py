"""The application: finds the operation behind a path, performs it under the faults in force, seals it.

All channels share one order of things: who sent it, then the ledger's transaction, then the answer. What a
fault must leave undone is performed and rolled back, so that the answer looks the same either way.
"""

import json
import logging
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.routing import Map, Rule

from payments.sandbox.breaking import break_answer, hold_answer
from payments.sandbox.control import Control
from payments.sandbox.faults import Fault, Faults
from payments.sandbox.ledger import Ledger
from payments.sandbox.pages import Pages
from payments.sandbox.side import Call, Refused, Reply, Route, Side

log = logging.getLogger("sandbox")


class Gateway:
    """The WSGI application over all sides, with the control API beside them."""

    def __init__(
        self, sides: dict[str, Side], ledger: Ledger, faults: Faults, control: Control, pages: Pages
    ) -> None:
        self.ledger = ledger
        self.faults = faults
        self.control = control
        rules = [
            Rule(route.path, methods=[route.method], endpoint=partial(self._answer, side, route))
            for side in sides.values()
            for route in side.routes
        ]
        for method, path, door in control.doors + pages.doors:
            rules.append(Rule(path, methods=[method], endpoint=partial(control.serve, door)))
        self.map = Map(rules, merge_slashes=False)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """WSGI: one request, one answer."""
        return self._respond(Request(environ))(environ, start_response)

    def _respond(self, request: Request) -> Response:
        try:
            answer, parts = self.map.bind_to_environ(request.environ).match()
            response: Response = answer(request, parts)
        except HTTPException as error:
            return _answer_plainly(error, request)
        return response

    def _answer(self, side: Side, route: Route, request: Request, parts: Mapping[str, str]) -> Response:
        operation, handler = side.read_route(route, request)
        drawn = self.faults.draw_call(side.name, operation)
        reply = self._perform(side, handler, request, parts, drawn.fault)
        self.control.notifier.wake()  # a refund that was accepted just now ends soon
        hold_answer(request, drawn.slow_s)
        if drawn.fault is None or drawn.fault.what in _OF_CONTENT:
            return side.seal(reply, request)
        return break_answer(side, operation, request, reply, drawn.fault)

    def _perform(
        self, side: Side, handler: str, request: Request, parts: Mapping[str, str], fault: Fault | None
    ) -> Reply:
        is_kept = fault is None or fault.when == "after" or fault.what in _OF_CONTENT
        try:
            side.authenticate(request)
            with self.ledger.transaction(is_kept=is_kept):
                return side.act(handler, _build_call(request, fault), **parts)
        except Refused as refused:
            return refused.reply
        except Exception as error:  # a bug of ours must look like a channel's bad day, and be seen in the log
            log.exception("%s %s failed", side.name, handler)
            raise InternalServerError from error


# Faults in what is done, not in how the answer travels.
_OF_CONTENT = frozenset(
    {"refund_abnormal", "statement_omit", "statement_double", "statement_lie", "paid_meanwhile"}
)


def _build_call(request: Request, fault: Fault | None) -> Call:
    if fault is None or fault.what not in _OF_CONTENT:
        return Call(request)
    if fault.what == "refund_abnormal":
        return Call(request, refund_end=fault.value)
    if fault.what == "paid_meanwhile":
        return Call(request, paid_meanwhile=fault.when)
    return Call(request, statement_fault=fault.what, statement_every=fault.value)


def _answer_plainly(error: HTTPException, request: Request) -> Response:
    """No channel's words: the path is nobody's, the method is wrong, or a bug of ours came up."""
    response = Response.force_type(error.get_response(request.environ))
    if response.status_code >= HTTPStatus.BAD_REQUEST:
        code = HTTPStatus(response.status_code).name
        response.set_data(json.dumps({"code": code, "message": error.description}))
        response.content_type = "application/json; charset=utf-8"
    return response
