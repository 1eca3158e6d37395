"""What is sealed can be read by us alone, also after the key was changed."""

import pytest

from shop.vault import CannotOpen, keyed_hashes, seal, unseal

PAYER = {"tax_id": "000.000.000-00", "address": {"city": "São Paulo"}}


def test_what_is_sealed_is_read_again():
    assert unseal(seal(PAYER)) == PAYER


def test_sealed_text_shows_nothing_of_its_content_and_is_another_every_time():
    first, second = seal(PAYER), seal(PAYER)
    assert first != second
    assert "Paulo" not in first


def test_what_was_sealed_with_an_earlier_key_is_read_while_that_is_a_fallback(settings):
    settings.SECRET_KEY = "the earlier one"
    sealed = seal(PAYER)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the later one", ["the earlier one"]
    assert unseal(sealed) == PAYER


def test_what_was_sealed_with_a_lost_key_cannot_be_opened(settings):
    settings.SECRET_KEY = "the lost one"
    sealed = seal(PAYER)
    settings.SECRET_KEY = "another"
    with pytest.raises(CannotOpen):
        unseal(sealed)


@pytest.mark.parametrize("at", [0, 10, -20])
def test_sealed_text_that_was_changed_cannot_be_opened(at):
    sealed = list(seal(PAYER))
    sealed[at] = "A" if sealed[at] != "A" else "B"
    with pytest.raises(CannotOpen):
        unseal("".join(sealed))


def test_hash_is_the_same_for_the_same_content_and_another_by_another_key(settings):
    (first,) = keyed_hashes("a")
    assert (keyed_hashes("a"), len(first)) == ((first,), 64)
    assert keyed_hashes("b") != (first,)
    settings.SECRET_KEY = "another"
    assert first not in keyed_hashes("a")


def test_hash_by_an_earlier_key_is_known_while_that_is_a_fallback(settings):
    (earlier,) = keyed_hashes("a")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "the later one", [settings.SECRET_KEY]
    assert keyed_hashes("a")[1:] == (earlier,)
