"""Logs: structured, with numbers to find things by, and without what must never be read there."""

import io
import json
import logging
import logging.config

import pytest
import structlog
from django.test import RequestFactory

from shop.logs import REDACTED, logging_settings, redact

SECRETS = {
    "authorization": "Bearer abc", "token": "abc", "apiv3_key": "abc", "signature": "abc", "cookie": "abc",
    "password": "abc", "openid": "oAbc", "email": "anna@example.com", "phone": "13800000000", "tax_id": "1",
}  # fmt: skip


@pytest.fixture
def lines():
    """What is written by a fresh configuration, as parsed lines."""
    settings = logging_settings(level="INFO", as_json=True)
    stream = io.StringIO()
    settings["handlers"]["stderr"]["stream"] = stream
    before = logging.getLogger().handlers[:], logging.getLogger().level
    logging.config.dictConfig(settings)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().handlers[:], logging.getLogger().level = before


@pytest.mark.parametrize("name", SECRETS)
def test_secret_names_are_redacted(name):
    assert redact(None, "info", {name: SECRETS[name]})[name] == REDACTED


def test_card_like_digits_are_redacted_in_any_text():
    event = redact(None, "info", {"event": "card 4111111111111111 declined"})
    assert event["event"] == f"card {REDACTED} declined"


def test_our_numbers_and_the_channels_stay_readable():
    event = {"payment": "PQQ18J81GMHQSYKE50GEZZQ0", "channel_number": "4200009876202611210123456789"}
    assert redact(None, "info", dict(event)) == event


def test_both_kinds_of_loggers_write_one_json_line_with_fields(lines):
    logging.getLogger("plain").info("channel call", extra={"number": "P1", "token": "abc"})
    structlog.get_logger("structured").info("move", order="N1")
    plain, structured = lines()
    assert (plain["event"], plain["number"], plain["token"]) == ("channel call", "P1", REDACTED)
    assert (structured["event"], structured["order"]) == ("move", "N1")
    assert plain["timestamp"].endswith("Z")


def test_line_breaks_cannot_forge_a_line(lines):
    logging.getLogger("plain").info('name\n{"event": "forged"}')
    assert len(lines()) == 1


def test_what_an_exception_quotes_of_a_person_is_redacted():
    text = "SMTPRecipientsRefused: {'anna@example.com': (550, b'no')}\nDETAIL: Failing row contains (7, Anna Lin).\nend"
    told = redact(None, "error", {"exception": text})["exception"]
    assert "anna" not in told.lower()
    assert "550" in told
    assert told.endswith("\nend")


def test_link_to_an_order_opens_nothing_for_whoever_reads_the_servers_lines(lines):
    logging.getLogger("uvicorn.error").info(
        '%s - "WebSocket %s" [accepted]', "addr", "/ws/orders/N1/?token=4RnAf-J5&a=1"
    )
    logging.getLogger("uvicorn.access").info('"GET /orders/N1/?token=4RnAf-J5"')
    [line] = lines()
    assert line["event"] == f'addr - "WebSocket /ws/orders/N1/?token={REDACTED}&a=1" [accepted]'


def test_request_that_broke_is_named_without_its_link(lines):
    request = RequestFactory().get("/orders/N1/?token=4RnAf-J5")
    logging.getLogger("django.request").error("Internal Server Error", extra={"request": request})
    assert lines()[0]["request"] == "GET /orders/N1/"
