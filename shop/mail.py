"""Sending mail. Without a mail server the mails are files in the data folder, readable by its owner only."""

import re
import unicodedata
from email.header import Header
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

# What a mail program shows without folding it, in columns: a Chinese character takes two.
COLUMNS = 72
# Of a line of a header, less its name.
WORDS = 60
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
# Words with the space behind them, and characters of twice the width with the punctuation that must not begin a line.
PIECES = re.compile(rf"[{WIDE}][，。：；、！？）》」』”’…]*\s*|[^\s{WIDE}]+\s*|\s+")


def send_mail(*, to: str, subject: str, text: str, message_id: str) -> None:
    """Send one mail. `message_id` is the same for a repeat, so that mail programs show it once.

    Raises OSError (SMTPException is one) when it could not be handed over. Never inside a transaction.
    """
    if not settings.EMAIL_HOST:
        Path(settings.EMAIL_FILE_PATH).mkdir(mode=0o700, parents=True, exist_ok=True)
    mail = _Letter(subject, text, to=[to], headers={"Message-ID": f"<{message_id}>"})
    mail.send()


class _Letter(EmailMessage):
    """Its subject in encoded words (RFC 2047) so short that the first stands beside the header's name, and not below it."""

    def message(self, *args: Any, **options: Any) -> Any:
        message = super().message(*args, **options)
        if not self.subject.isascii():
            words = Header(str(self.subject), "utf-8", maxlinelen=WORDS)
            message.replace_header("Subject", words.encode(linesep="").strip())
        return message


def narrow(text: str) -> str:
    """The text with its long lines broken, so that it is readable anywhere; a line with a link stays whole, to be pressed.

    Empty lines stand alone.
    """
    lines = "\n".join(line if "://" in line else _break(line) for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def _break(line: str) -> str:
    """At spaces, and between characters of twice the width, none of which is punctuation that ends something."""
    lines = [""]
    for piece in PIECES.findall(line):
        if lines[-1] and _columns((lines[-1] + piece).rstrip()) > COLUMNS:
            lines.append("")
        lines[-1] += piece
    return "\n".join(each.rstrip() for each in lines)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)
