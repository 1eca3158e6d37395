"""Bank slips: when they expire, what is printed on them, and the sheet of paper itself.

Pure functions. Source: FEBRABAN's layout of the typing line (linha digitável) and of the bar code, with the due date that
counts from 1000 again since 2025-02-22.
"""

from datetime import date, datetime, time, timedelta, timezone

from payments.sandbox.clock import SECOND_US, to_datetime, to_us

BRASILIA = timezone(timedelta(hours=-3))  # São Paulo's too: summer time was given up in 2019
_BANK = "0019"  # Banco do Brasil, and 9 for the currency
_FACTOR_1000 = date(2025, 2, 22)
_FONT = b"<< /Font << /F1 5 0 R >> >>"


def find_expiry(created_at: int, days: int) -> int:
    """The last second of the day that is so many calendar days after the creation."""
    day = to_datetime(created_at, BRASILIA).date() + timedelta(days=days)
    return to_us(datetime.combine(day, time(23, 59, 59), tzinfo=BRASILIA))


def add_business_day(moment: int) -> int:
    """The same time on the next Monday to Friday."""
    later = to_datetime(moment, BRASILIA) + timedelta(days=1)
    while later.weekday() > 4:
        later += timedelta(days=1)
    return to_us(later)


def write_line(free_field: str, amount: int, expires_at: int) -> str:
    """The typing line of 47 digits: `free_field` is the bank's own 25 digits, the amount in centavos."""
    due = (to_datetime(expires_at, BRASILIA).date() - _FACTOR_1000).days + 1000
    value = f"{due:04}{amount:010}"
    check = _mod_11(_BANK + value + free_field)
    fields = (_BANK + free_field[:5], free_field[5:15], free_field[15:])
    return "".join(field + _mod_10(field) for field in fields) + check + value


def write_pdf(lines: list[str]) -> bytes:
    """One page with a line of text below the other."""
    shown = "".join(f"({_escape(line)}) Tj 0 -24 Td " for line in lines)
    text = f"BT /F1 12 Tf 60 760 Td {shown}ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %s >>" % _FONT,
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    ]
    file, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(file)
    return file + b"xref\n0 6\n0000000000 65535 f \n" + table + end


def to_seconds(moment: int) -> int:
    """A stored moment in Unix seconds."""
    return moment // SECOND_US


def _mod_10(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        product = int(digit) * (2 - place % 2)
        total += product // 10 + product % 10
    return str(-total % 10)


def _mod_11(digits: str) -> str:
    total = sum(int(digit) * (2 + place % 8) for place, digit in enumerate(reversed(digits)))
    check = 11 - total % 11
    return "1" if check in (0, 10, 11) else str(check)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
