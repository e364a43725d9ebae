"""Token: an integer of 64 unsigned bits with a repr of its own."""

import pytest

from pollster import Token


def test_a_token_is_an_integer() -> None:
    assert Token(3) == 3
    assert {3: "three"}[Token(3)] == "three"
    assert [10, 20, 30][Token(1)] == 20


def test_its_repr_names_it_and_its_str_is_the_number() -> None:
    assert repr(Token(3)) == "Token(3)"
    assert str(Token(3)) == f"{Token(3)}" == "3"


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 1])
def test_all_of_64_bits_are_tokens(number: int) -> None:
    assert Token(number) == number


@pytest.mark.parametrize("number", [-1, 2**64])
def test_what_does_not_fit_is_a_value_error_that_names_it(number: int) -> None:
    with pytest.raises(ValueError, match=f"token {number} is out of range"):
        Token(number)


@pytest.mark.parametrize("value", ["3", 3.0, None])
def test_what_is_no_integer_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError):
        Token(value)  # type: ignore[arg-type]
