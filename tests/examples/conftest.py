"""Lets the modules beside this one be imported under any of pytest's import modes, and names the
back ends: each that is present, or the one that POLLSTER_BACKEND names.
"""

import os
import sys
from pathlib import Path

import pytest

import pollster.backend

sys.path.insert(0, str(Path(__file__).parent))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test on each of the back ends, in a process that is told by the environment."""
    if "queue" in metafunc.fixturenames:
        chosen = os.environ.get("POLLSTER_BACKEND")
        metafunc.parametrize("queue", [chosen] if chosen else pollster.backend.available())
