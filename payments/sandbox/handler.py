"""HTTP/1.1 for the gateway: connections that stay open, bodies that are bounded, one write per answer.

Werkzeug's own handler closes the connection after each answer, which the real channels do not do. This one
reads the whole body before it calls the application; it knows nothing of channels or faults.
"""

import json
import logging
import socket
import time
from http import HTTPStatus
from io import BytesIO
from typing import Any

from werkzeug import Response
from werkzeug.http import http_date
from werkzeug.serving import WSGIRequestHandler

MAX_BODY = 64 * 1024
_IDLE_S = 75
_DRAIN_S = 2.0

log = logging.getLogger("sandbox")


class Abandoned(Exception):
    """The connection was dealt with on its raw socket: write nothing more and close it."""


class UnusableBody(Exception):
    """The request's body cannot be read; `status` says why."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def render_head(response: Response, length: int | None, *, is_last: bool) -> bytes:
    """Status line and headers as bytes; `length` None: the body ends with the connection."""
    headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
    if length is not None and response.status_code != HTTPStatus.NO_CONTENT:
        headers.append(("Content-Length", str(length)))
    if is_last:
        headers.append(("Connection", "close"))
    headers.append(("Date", http_date()))
    lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Handler(WSGIRequestHandler):
    """One connection and its requests, one after the other."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request."""
        begun = time.monotonic()
        environ = self.make_environ()
        try:
            environ["wsgi.input"] = BytesIO(body := self._read_body(environ))
            environ["CONTENT_LENGTH"] = str(len(body))
            response = Response.from_app(self.server.app, environ, buffered=True)
        except UnusableBody as error:
            self.close_connection = True
            self._answer(_refuse_body(error.status))
            self._drain()
        except Abandoned:
            self.close_connection = True
            log.info("%s %s abandoned", self.command, self.path)
        else:
            self._answer(response)
            log.info("%s %s %d %.0f ms", self.command, self.path, response.status_code, _ms_since(begun))

    def _answer(self, response: Response) -> None:
        content = b"" if self.command == "HEAD" else response.get_data()
        length = response.content_length or len(content)
        self.wfile.write(render_head(response, length, is_last=self.close_connection) + content)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """What the base class has to say about broken requests."""
        log.info(message.rstrip(), *args)

    def _read_body(self, environ: dict[str, Any]) -> bytes:
        if environ.get("wsgi.input_terminated"):
            return self._read_chunks(environ["wsgi.input"])
        declared = environ.get("CONTENT_LENGTH") or "0"
        if not (declared.isascii() and declared.isdigit()):
            raise UnusableBody(HTTPStatus.BAD_REQUEST)
        if int(declared) > MAX_BODY:
            raise UnusableBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(declared))
        if len(body) < int(declared):
            raise Abandoned
        return body

    def _read_chunks(self, stream: Any) -> bytes:
        body = b""
        try:
            while chunk := stream.read(MAX_BODY + 1):
                body += chunk
                if len(body) > MAX_BODY:
                    raise UnusableBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except OSError as error:
            raise UnusableBody(HTTPStatus.BAD_REQUEST) from error
        return body

    def _drain(self) -> None:
        """Take what a client is still sending for a moment, or it sees a reset in place of our answer."""
        deadline = time.monotonic() + _DRAIN_S
        self.connection.settimeout(_DRAIN_S)
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline and self.connection.recv(MAX_BODY):
                pass
        except OSError:
            return


def _refuse_body(status: HTTPStatus) -> Response:
    document = {"code": status.name, "message": f"{status.phrase}; a body has at most {MAX_BODY} bytes"}
    return Response(json.dumps(document), status, content_type="application/json; charset=utf-8")


def _ms_since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000
