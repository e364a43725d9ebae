"""The pictures are up to date: they show what happens now, and are drawn as they would be now."""

import importlib
import json
import re
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from pollster import backend as backends

PICTURES = Path(__file__).resolve().parent / "pictures"
sys.path.insert(0, str(PICTURES))

DRAWINGS = importlib.import_module("drawing").DRAWINGS
RUNS = importlib.import_module("runs").RUNS

Trace = list[dict[str, Any]]
AGAIN = "run `python docs/pictures/make.py`"


def stored(name: str) -> tuple[str, dict[str, Trace]]:
    """Returns a picture, and the traces that it was drawn from."""
    text = (PICTURES / f"{name}.svg").read_text(encoding="utf-8")
    found = re.search("<metadata>(.*)</metadata>", text)
    assert found
    traces: dict[str, Trace] = json.loads(unescape(found[1]))
    return text, traces


def comparable(trace: Trace) -> list[dict[str, Any]]:
    """Leaves out what is not the same on every run and every system."""
    left_out = {"time"} if sys.platform == "linux" else {"time", "raw", "mark"}
    return [{key: step[key] for key in step.keys() - left_out} for step in trace]


@pytest.mark.parametrize("name", RUNS)
def test_a_picture_is_drawn_from_its_trace(name: str) -> None:
    """The same trace gives the same file."""
    text, traces = stored(name)
    assert DRAWINGS[name](traces) == text, AGAIN


@pytest.mark.parametrize("backend", backends.available())
@pytest.mark.parametrize("name", RUNS)
def test_a_picture_shows_what_happens(name: str, backend: str) -> None:
    """The same events come as when it was made."""
    _, traces = stored(name)
    assert comparable(RUNS[name](backend)) == comparable(traces[backend]), AGAIN
