"""Taxpayer numbers, post codes and bank slips of Brazil, by published samples."""

import pytest

from payments.channels.brazil import STATES, barcode_of, is_tax_id, read_post_code, read_tax_id

from .boleto_party import VECTORS

SLIPS = VECTORS["boleto_line"]
# Published samples: Receita Federal's own, and those of well-known companies.
RIGHT = ["111.444.777-35", "529.982.247-25", "12345678909", "11.222.333/0001-81", "00.000.000/0001-91"]


@pytest.mark.parametrize("text", [*RIGHT, "33000167000101", "000.000.000-00", "00.000.000/0000-00"])
def test_right_number_is_one_with_or_without_punctuation(text):
    assert is_tax_id(read_tax_id(text))


@pytest.mark.parametrize("text", RIGHT)
def test_number_has_only_one_pair_of_check_digits(text):
    digits = read_tax_id(text)
    right = [pair for pair in range(100) if is_tax_id(f"{digits[:-2]}{pair:02}")]
    assert right == [int(digits[-2:])]


@pytest.mark.parametrize("digit", "123456789")
@pytest.mark.parametrize("length", [11, 14])
def test_row_of_one_digit_is_nobodys_number(digit, length):
    assert not is_tax_id(digit * length)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1" * 10,
        "1" * 12,
        "1" * 15,
        "111-444-777.35",
        " 11144477735",
        "11144477735\n",
        "１１１４４４７７７３５",
        "A2.222.333/0001-81",
    ],
)
def test_text_of_another_form_has_no_digits(text):
    assert read_tax_id(text) == ""


@pytest.mark.parametrize(
    ("text", "digits"),
    [("01001-000", "01001000"), ("01001000", "01001000"), ("0100-1000", ""), ("0100100", ""), ("", "")],
)
def test_post_code_is_read(text, digits):
    assert read_post_code(text) == digits


def test_there_are_27_states():
    assert len(STATES) == 27
    assert {"SP", "RJ", "DF", "TO"} < STATES


@pytest.mark.parametrize("name", ["published_sample", "own_sample"])
def test_barcode_follows_from_the_line(name):
    assert barcode_of(SLIPS[name]["digitable_line"]) == SLIPS[name]["barcode"]


def test_line_without_right_check_digits_has_a_barcode_all_the_same():
    assert barcode_of(SLIPS["stripe_test_number"]) == "01010101010101010100101001010101011010101010"


@pytest.mark.parametrize("line", ["", "0" * 46, "0" * 48, "0" * 46 + "x", "0" * 46 + "٣", "0" * 46 + "\n"])
def test_line_of_another_form_has_none(line):
    with pytest.raises(ValueError, match="47"):
        barcode_of(line)
