"""Public numbers: random, so that they tell nobody how many there are and cannot be guessed or met twice.

They never come from a database sequence: a restored copy would hand out the same ones again.
"""

import secrets

# Crockford's base 32: no I, L, O or U, so a number can be read aloud.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

# A number of ours as a regular expression, for others.
PATTERN = "^[0-9A-HJKMNP-TV-Z]{10,32}$"


def new_number(prefix: str, *, letters: int) -> str:
    """`prefix` and `letters` random characters of 5 bits each, upper-case alphanumeric."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(letters))


def is_number(text: str) -> bool:
    """Whether it could be a number of ours, before it is looked for."""
    return 10 <= len(text) <= 32 and set(text) <= set(ALPHABET)


def new_order_number() -> str:
    """16 characters, 75 bits: short enough to be read out, far too many to be tried."""
    return new_number("N", letters=15)


def new_payment_number() -> str:
    """24 characters. Every channel takes 8 to 32 upper-case letters and digits (UnionPay is the narrowest)."""
    return new_number("P", letters=23)


def new_refund_number() -> str:
    """24 characters, like a payment's."""
    return new_number("R", letters=23)


def new_proposal_number() -> str:
    """24 characters, like a payment's."""
    return new_number("E", letters=23)


def new_event_number() -> str:
    """24 characters: the id by which a receiver knows that it was told before."""
    return new_number("V", letters=23)


def new_endpoint_number() -> str:
    """12 characters: it names an endpoint to staff and nobody else."""
    return new_number("W", letters=11)


def new_key_number() -> str:
    """12 characters: the part of an API key that is no secret."""
    return new_number("K", letters=11)
