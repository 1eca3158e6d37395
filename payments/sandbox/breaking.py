"""How an answer is broken on its way to the caller, by one fault of the script or the dice.

Some faults change what is said and leave a whole answer; the others act on the raw socket and end the
connection. Whether the money operation took effect was decided before: nothing here touches the ledger.
"""

import os
import select
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import replace

from werkzeug import Request, Response

from payments.sandbox.faults import Fault
from payments.sandbox.handler import Abandoned, render_head
from payments.sandbox.side import Reply, Side

_BLOCK = b"\0" * 65536
_PROXY_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>proxy</body></html>"


def break_answer(side: Side, operation: str, request: Request, reply: Reply, fault: Fault) -> Response:
    """The answer that the caller gets in place of `reply`. Raises Abandoned when there is none (any more)."""
    if fault.what in _ON_SOCKET:
        _ON_SOCKET[fault.what](get_socket(request), side.seal(reply, request), fault)
    if fault.what == "status":
        return _answer_error(side, request, fault)
    if fault.what == "redirect":
        return Response(status=302, headers={"Location": fault.value})
    return _answer_sealed(side, operation, request, reply, fault)


def hold_answer(request: Request, seconds: float) -> None:
    """Send nothing for a while. Raises Abandoned as soon as the caller has gone."""
    if seconds > 0 and _is_gone_within(get_socket(request), seconds):
        raise Abandoned


def get_socket(request: Request) -> socket.socket:
    """The connection that a request came by."""
    connection: socket.socket = request.environ["werkzeug.socket"]
    return connection


def _answer_sealed(side: Side, operation: str, request: Request, reply: Reply, fault: Fault) -> Response:
    if fault.what in ("notfound", "syserr"):
        status, code = side.find_words(fault.what, operation)
        reply = side.refuse(status, code, "by a fault of the sandbox")
    elif fault.what == "garbage":
        reply = replace(reply, document=b"<<<\xff\xfe{]")
    elif fault.what == "lie" and isinstance(reply.document, dict):
        reply = replace(reply, document=side.bend(reply.document, fault.value))
    return side.seal(reply, request, is_forged=fault.what == "badsign")


def _answer_error(side: Side, request: Request, fault: Fault) -> Response:
    status, code = fault.value["status"], fault.value["code"]
    if code is not None:
        return side.seal(side.refuse(status, code, "by a fault of the sandbox"), request)
    return Response(_PROXY_PAGE.format(status), status, content_type="text/html")


def _refuse(connection: socket.socket, response: Response, fault: Fault) -> None:
    raise Abandoned


def _reset(connection: socket.socket, response: Response, fault: Fault) -> None:
    # Closing with a linger time of 0 sends RST; detached, because the server would send FIN first.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())
    raise Abandoned


def _hang(connection: socket.socket, response: Response, fault: Fault) -> None:
    """Silence; then the late answer of what was done, or the end of the connection where nothing was."""
    if not _is_gone_within(connection, fault.value) and fault.when == "after":
        content = response.get_data()
        _send(connection, [render_head(response, len(content), is_last=True) + content])
    raise Abandoned


def _truncate(connection: socket.socket, response: Response, fault: Fault) -> None:
    content = response.get_data() or b"{}"
    _send(connection, [render_head(response, len(content), is_last=True) + content[: len(content) // 2]])
    raise Abandoned


def _drip(connection: socket.socket, response: Response, fault: Fault) -> None:
    """A byte at a time; the last one never comes where nothing was done."""
    content = response.get_data()
    drops = [content[place : place + 1] for place in range(len(content) - (fault.when == "before"))]
    _send(connection, [render_head(response, len(content), is_last=True), *drops], pause_s=fault.value)
    raise Abandoned


def _flood(connection: socket.socket, response: Response, fault: Fault) -> None:
    whole, rest = divmod(fault.value, len(_BLOCK))
    blocks = (_BLOCK for _ in range(whole))
    _send(connection, [render_head(response, None, is_last=True)])
    _send(connection, blocks)
    _send(connection, [_BLOCK[:rest]])
    raise Abandoned


_ON_SOCKET = {
    "refuse": _refuse,
    "reset": _reset,
    "hang": _hang,
    "truncate": _truncate,
    "drip": _drip,
    "flood": _flood,
}


def _send(connection: socket.socket, blocks: Iterable[bytes], pause_s: float = 0) -> None:
    try:
        for block in blocks:
            connection.sendall(block)
            if pause_s and _is_gone_within(connection, pause_s):
                raise Abandoned
    except OSError as error:
        raise Abandoned from error


def _is_gone_within(connection: socket.socket, seconds: float) -> bool:
    """Wait, and tell at once when the caller closes its end."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            return False
        if not connection.recv(1, socket.MSG_PEEK):
            return True
        time.sleep(min(left, 0.05))  # the caller has sent its next request already and waits for us
    return False
