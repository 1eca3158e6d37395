"""What counts as a text: characters that people read, in any writing, and nothing that hides or turns them."""

import pytest
from rest_framework.serializers import ValidationError

from shop.api import Text


@pytest.mark.parametrize("text", ["Anna Lin", "林安娜", "Zoë “Zo” O’Neil", "👩‍👩‍👧", "مرحبا", "a\u00a0b"])
def test_what_people_write_is_taken_as_it_is(text):
    assert Text().run_validation(text) == text


@pytest.mark.parametrize(
    "letter",
    [
        "\x00",
        "\n",
        "\x1b",
        "\x7f",
        "\x80",
        "\x9f",
        "\u202a",
        "\u202e",
        "\u2066",
        "\u2069",
        "\ud800",
    ],
    ids=ascii,
)
def test_what_is_no_text_is_refused_and_says_so(letter):
    with pytest.raises(ValidationError, match="characters that are not text"):
        Text().run_validation(f"a{letter}b")
