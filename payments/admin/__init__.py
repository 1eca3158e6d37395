"""The back office. Staff read everything about money here and edit none of it: what they do goes through the flows."""

from payments.admin import books, cases, endpoints, home, keys, labels, messages, money, orders, refunds  # noqa: F401 - each registers its pages
