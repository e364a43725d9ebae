"""Builds the kqueue once a session and hands it to the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The modules beside this one are found under any of pytest's import modes.
sys.path.insert(0, str(Path(__file__).parent))

from kernels import DEFAULT
from linux_kqueue import LinuxKqueue, build


@pytest.fixture(scope="session")
def system(pytestconfig: pytest.Config) -> LinuxKqueue:
    """The compiled kqueue."""
    if sys.implementation.name != "cpython":
        pytest.skip("whether this kqueue keeps to what was recorded is seen with CPython's signals")
    system = LinuxKqueue(build(Path(pytestconfig.cache.mkdir("kqueue"))))
    system.be_kernel(DEFAULT)  # whatever KQUEUE_KERNEL says of the others
    system.misbehave("prompt", 1)
    return system


@pytest.fixture
def kq(system: LinuxKqueue) -> Iterator[int]:
    """A queue, and when it is closed nothing left of its knotes."""
    queue = system.kqueue()
    yield queue
    os.close(queue)
    os.close(system.kqueue())
