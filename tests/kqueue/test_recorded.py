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
from kernels import DEFAULT
from linux_kqueue import LinuxKqueue
from recording import Case, load
from replay import Replay
from scenario import SCENARIOS

CASES = load("freebsd")
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


NUMBERS = "a child has the number of its parent's queue for something else at once"
NO_USER = "EVFILT_USER, which this release has not, is refused, and what follows is about it"
IN_PROGRESS = "a loopback connect takes a while on OpenBSD, and says that it is in progress"
OPENBSD = load("openbsd")
# Why a case of OpenBSD's is not replayed, where FreeBSD's of that title is, or where neither is.
OPENBSD_GATES = {
    title: GATES[title]
    for title in (
        "tty / char device: console",
        "SCM_RIGHTS: can a kqueue fd be passed?",
        "sendfile-less big write: EVFILT_WRITE low-water (SO_SNDLOWAT) tcp",
        "kevent interrupted by a handled signal",
    )
} | {
    "listening TCP": "shutdown(2) of a listener is no end on OpenBSD; Linux unlistens",
    "non-blocking connect, success": IN_PROGRESS,
    "non-blocking connect, refused (registered before connect, EV_CLEAR)": IN_PROGRESS,
    "non-blocking connect, refused (registered after connect, level)": IN_PROGRESS,
    "UDP": "the same events, but `data` counts other bytes",
    "tcp peer closes while OUR 5 bytes are unread by it (TCP: RST)": (
        "FreeBSD's replay states what Linux's reset does instead, with FreeBSD's flags"
    ),
    "dup(kq)": "the same, but registered with another udata",
    "closed / negative / bad fd": "EV_ADD with EV_DELETE adds there",
    "regular file, directory, /dev/null": "/dev/null is readable there",
    "kqueue after fork (child uses parent's kq)": NUMBERS,
    "fork: fd numbers in the child": NUMBERS,
    "timeouts": NO_USER,
    "3 threads wait on one kq, one EVFILT_USER trigger, level": NO_USER,
    "3 threads wait on one kq, one EVFILT_USER trigger, EV_CLEAR": NO_USER,
    "kq closed by another thread during kevent(NULL timeout 1s)": "close(2) tells nobody on Linux",
    "EVFILT_TIMER": "NOTE_ABSTIME and a negative period, which pollster never asks for",
    "EVFILT_PROC NOTE_EXIT": "its numbers are pids; test_kernels.py has what differs, no-zombies",
    "same with socketpair": "Linux has no edge of READ there: README.md",
    "peer shutdown(SHUT_RD)": "send(2) to it succeeds on OpenBSD and is EPIPE on Linux",
    "udata on EV_ENABLE/EV_DISABLE/flags 0 change": "it ends before EV_KEEPUDATA",
    "many registrations": "it says a number of registrations and a time",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_replay(case: Case, system: LinuxKqueue) -> None:
    if case.title in GATES:
        pytest.skip(GATES[case.title])
    with Replay(case, system) as replay:
        SCENARIOS[case.title](replay)


@pytest.mark.parametrize("case", OPENBSD.values(), ids=OPENBSD.keys())
def test_replay_of_openbsd(case: Case, system: LinuxKqueue) -> None:
    if case.title in OPENBSD_GATES:
        pytest.skip(OPENBSD_GATES[case.title])
    system.be_kernel("openbsd")
    try:
        with Replay(case, system) as replay:
            SCENARIOS[case.title](replay)
    finally:
        system.be_kernel(DEFAULT)


def test_every_case_is_replayed_or_gated_and_none_is_both() -> None:
    assert sorted([*SCENARIOS, *GATES]) == sorted(CASES)
    assert {*OPENBSD} - {*OPENBSD_GATES} <= {*SCENARIOS}
    assert {*OPENBSD_GATES} <= {*OPENBSD}
