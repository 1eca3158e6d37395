"""The bar code and the line of a boleto, against the weights that define the code and a line as it is printed."""

import re
from itertools import pairwise

import pytest

from shop.checkout.barcode import group_line, interleave
from shop.checkout.templatetags.look import barcode

DIGITS = "00198987600000129000000002814567891234567890"
# The wide elements of a digit add up to it by these weights; the last one only makes them two. 0 is written as 11.
WEIGHTS = (1, 2, 4, 7, 0)


def read(widths: list[int]) -> str:
    """The digits, as a scanner reads them."""
    assert (widths[:4], widths[-3:]) == ([1, 1, 1, 1], [3, 1, 1])
    found = ""
    for start in range(4, len(widths) - 3, 10):
        for elements in (widths[start : start + 10 : 2], widths[start + 1 : start + 10 : 2]):
            assert sorted(elements) == [1, 1, 1, 3, 3]
            total = sum(weight for weight, width in zip(WEIGHTS, elements, strict=True) if width == 3)
            found += str(total % 11)
    return found


def test_scanner_reads_the_digits_that_were_drawn():
    assert read(interleave(DIGITS)) == DIGITS


@pytest.mark.parametrize("pair", [f"{number:02}" for number in range(100)])
def test_every_pair_of_digits_is_drawn(pair):
    assert read(interleave(pair)) == pair


def test_44_digits_are_405_modules_wide():
    assert sum(interleave(DIGITS)) == 405


@pytest.mark.parametrize("digits", ["1", "123", "12a4", "٣٤", "12 4", "²²", "-1"])
def test_what_is_no_even_number_of_digits_is_refused(digits):
    with pytest.raises(ValueError, match="even number of digits"):
        interleave(digits)


def test_drawing_has_every_bar_in_its_place():
    drawing = barcode(DIGITS)
    bars = [(int(start), int(width)) for start, width in re.findall(r"M(\d+) 0h(\d+)v52", drawing)]
    widths = interleave(DIGITS)
    assert [width for _, width in bars] == widths[::2]
    assert [b - a - width for (a, width), (b, _) in pairwise(bars)] == widths[1::2]
    assert bars[0][0] == 10
    assert 'viewBox="0 0 425 52"' in drawing


@pytest.mark.parametrize("digits", ["", "123", "<script>"])
def test_digits_that_cannot_be_drawn_leave_their_place_empty(digits):
    assert barcode(digits) in ("", barcode(""))
    assert "script" not in barcode(digits)


@pytest.mark.parametrize(
    ("line", "groups"),
    [
        (
            "00190000090281456789012345678901198760000012900",
            ["00190.00009", "02814.567890", "12345.678901", "1", "98760000012900"],
        ),
        (
            "00190.00009 02814.567890 12345.678901 1 98760000012900",
            ["00190.00009", "02814.567890", "12345.678901", "1", "98760000012900"],
        ),
        ("0019", ["0019"]),
        ("", [""]),
    ],
)
def test_line_is_read_in_the_groups_that_are_printed(line, groups):
    assert group_line(line) == groups
