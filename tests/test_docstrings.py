"""The examples in the docstrings run, on every back end."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import pollster
import pollster.backend._python

from .conftest import shows_signatures

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pollster.__path__, "pollster.")
    if not module.name.rpartition(".")[2].startswith("_")
    and module.name != "pollster.backend.build"
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(backend, monkeypatch, name) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", backend)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@shows_signatures
def test_the_examples_of_what_is_written_in_c_run(backend, monkeypatch) -> None:
    monkeypatch.setenv("POLLSTER_BACKEND", backend)
    result = doctest.testmod(pollster.backend._python)
    assert result.attempted >= 10
    assert result.failed == 0


@pytest.mark.parametrize("name", [name for name in pollster.__all__ if name[0].isupper()])
def test_every_public_name_has_a_docstring(name) -> None:
    assert (getattr(pollster, name).__doc__ or "").strip()


@pytest.mark.parametrize("name", MODULES)
def test_manuals_are_not_called_sources(name) -> None:
    """A source is what can be registered."""
    code = inspect.getsource(importlib.import_module(name))
    assert not re.search(r"^\s*Source: ", code, re.MULTILINE)
