"""`Slab`: against a dict, and with places that are used again."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from pollster import Slab, Token

PLACE = (1 << 32) - 1


class Slabs(RuleBasedStateMachine):
    """A Slab and a dict, and all tokens that ever were."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.slab: Slab[int] = Slab()
        self.model: dict[Token, int] = {}
        self.ever: set[Token] = set()

    @rule(target=tokens, value=st.integers())
    def insert(self, value):
        token = self.slab.insert(value)
        assert type(token) is Token
        assert token > PLACE
        assert token not in self.ever
        self.ever.add(token)
        self.model[token] = value
        return token

    @rule(token=tokens)
    def remove(self, token):
        if token in self.model:
            assert self.slab.remove(token) == self.model.pop(token)
        else:
            with pytest.raises(KeyError, match=rf"Token\({int(token)}\)"):
                self.slab.remove(token)

    @rule(token=tokens)
    def look_up(self, token):
        assert (token in self.slab) == (token in self.model)
        assert self.slab.get(token) == self.model.get(token)
        assert self.slab.get(int(token), "none") == self.model.get(token, "none")
        if token in self.model:
            assert self.slab[token] == self.model[token]
        else:
            with pytest.raises(KeyError):
                self.slab[token]

    @invariant()
    def is_as_the_dict(self):
        assert len(self.slab) == len(self.model)
        assert list(self.slab) == list(self.model)
        assert list(self.slab.items()) == list(self.model.items())
        assert list(self.slab.values()) == list(self.model.values())
        places = {token & PLACE for token in self.ever}
        assert places == set(range(len(places))), "places are small numbers"


TestSlabs = Slabs.TestCase
TestSlabs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_place_is_used_again_under_another_token() -> None:
    slab: Slab[str] = Slab()
    old = slab.insert("old")
    slab.remove(old)
    new = slab.insert("new")
    assert old & PLACE == new & PLACE
    assert (old in slab, slab[new]) == (False, "new")


def test_a_place_that_had_every_generation_is_given_up() -> None:
    slab: Slab[str] = Slab()
    last = Token(((1 << 32) - 1) << 32)
    slab.remove(slab.insert(""))
    slab._free[:] = [last]
    assert slab.insert("last") == last
    slab.remove(last)
    assert slab.insert("next") & PLACE == 1


def test_a_full_slab_says_so() -> None:
    slab: Slab[str] = Slab()
    slab._places = 1 << 32
    with pytest.raises(OverflowError, match="full"):
        slab.insert("")


def test_what_is_no_token_of_it_is_a_key_error_and_not_in_it() -> None:
    slab: Slab[str] = Slab()
    slab.insert("")
    for other in (0, -1, 1 << 70):
        assert other not in slab
        with pytest.raises(KeyError, match="never made"):
            slab.remove(other)


def test_it_takes_back_as_a_dict_does() -> None:
    slab: Slab[str] = Slab()
    first, second, third = slab.insert("first"), slab.insert("second"), slab.insert("third")
    assert (slab.pop(first), slab.pop(first, None), slab.pop(first, "")) == ("first", None, "")
    del slab[second]
    assert [*slab.items()] == [(third, "third")]
    for remove in (slab.pop, slab.remove, slab.__delitem__):
        with pytest.raises(KeyError, match="taken back"):
            remove(second)


def test_the_repr_says_how_many() -> None:
    assert repr(Slab()) == "<Slab of 0>"
