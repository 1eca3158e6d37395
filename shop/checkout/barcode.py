"""The bar code of a boleto, Interleaved 2 of 5, as widths to be drawn; and its digitable line as people read it.

Of the numbers themselves nothing is checked or changed here: the bank's channel made them.
"""

# Which two of the five elements of a digit are wide (ISO/IEC 16390).
_PATTERNS = ("nnwwn", "wnnnw", "nwnnw", "wwnnn", "nnwnw", "wnwnn", "nwwnn", "nnnww", "wnnwn", "nwnwn")
_START, _STOP = "nnnn", "wnn"
# In modules. FEBRABAN wants wide elements of two to three narrow ones; three is what scanners like best.
_WIDTHS = {"n": 1, "w": 3}
# The fields of the digitable line: three with their check digit, the whole line's own, and due date with amount.
_FIELDS = ((5, 5), (5, 6), (5, 6), (1,), (14,))


def interleave(digits: str) -> list[int]:
    """The widths in modules of bars and spaces in turn, from the first bar to the last. Raises ValueError.

    Of each pair of digits the first is drawn by bars, the second by the spaces between them, so their number is even.
    """
    if not (digits.isascii() and digits.isdigit() and len(digits) % 2 == 0):
        raise ValueError("Interleaved 2 of 5 has an even number of digits.")
    pairs = zip(digits[::2], digits[1::2], strict=True)
    elements = [
        element
        for bars, spaces in pairs
        for both in zip(_PATTERNS[int(bars)], _PATTERNS[int(spaces)], strict=True)
        for element in both
    ]
    return [_WIDTHS[element] for element in (*_START, *elements, *_STOP)]


def group_line(line: str) -> list[str]:
    """The 47 digits in the groups that are printed on a boleto; whatever else it is, as one group."""
    digits = "".join(filter(str.isdigit, line))
    if len(digits) != sum(map(sum, _FIELDS)):
        return [line]
    groups, place = [], 0
    for field in _FIELDS:
        parts = []
        for length in field:
            parts.append(digits[place : place + length])
            place += length
        groups.append(".".join(parts))
    return groups
