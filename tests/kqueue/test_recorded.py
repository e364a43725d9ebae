"""Replays what a FreeBSD kernel answered (recorded/*.txt) against the kqueue for Linux.

The recorded text drives each test; the scenarios say what is done between its lines.
"""

from __future__ import annotations

import pytest
import scenarios_descriptor  # noqa: F401 - each registers its scenarios
import scenarios_queue  # noqa: F401
import scenarios_stream  # noqa: F401
import scenarios_waiting  # noqa: F401
import scenarios_watching  # noqa: F401
from linux_kqueue import LinuxKqueue
from recording import Case, load
from replay import Replay
from scenario import SCENARIOS

CASES = load()
# Why a case is not replayed.
GATES = {
    "kevent interrupted by a handled signal": (
        "the recorded signal went to another thread; the second recording has it rightly"
    ),
    "tty / char device: console": "a test machine has no console",
    "SCM_RIGHTS: can a kqueue fd be passed?": "the descriptor is an epoll, which can be passed",
    "sendfile-less big write: EVFILT_WRITE low-water (SO_SNDLOWAT) tcp": (
        "it says buffer sizes only, and no kevent() call was made"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_replay(case: Case, system: LinuxKqueue) -> None:
    if case.title in GATES:
        pytest.skip(GATES[case.title])
    with Replay(case, system) as replay:
        SCENARIOS[case.title](replay)


def test_every_case_is_replayed_or_gated_and_none_is_both() -> None:
    assert sorted([*SCENARIOS, *GATES]) == sorted(CASES)
