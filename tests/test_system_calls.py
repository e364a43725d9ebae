"""How many system calls a program costs: one for each thing that it does, and none for nothing.

With kqueue the tests' own counts its kevent() calls; with epoll what is preloaded counts, and
strace, where it is there, sees that there is no other call of any kind.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import pollster.backend
from pollster import Events, Interest, Token, Trigger

R, W = Interest.READABLE, Interest.WRITABLE
FOLDER = Path(__file__).with_name("system_calls")
PROGRAM = FOLDER / "program.py"
MANY = 100

CALLS = {
    "poll: nothing registered": 1,
    "register": 1,
    "register: it is registered": 1,
    "poll: one is ready": 1,
    "poll: one is ready, with a timeout": 1,
    "poll: one is ready, for ever": 1,
    "iterate": 0,
    "reregister: nothing changes": 0,
    "reregister: another token": 1,
    "reregister: another interest": 1,
    "poll: nothing is ready": 1,
    "poll: a timeout passes": 1,
    "reregister: one interest more": 1,
    "reregister: one interest less": 1,
    "reregister: another trigger": 1,
    "reregister: an edge again": 1,
    "reregister: a one-shot": 1,
    "poll: a one-shot": 1,
    "reregister: a one-shot again": 1,
    "reregister: everything": 1,
    "batch: nothing": 0,
    "batch: one change": 1,
    "deregister": 1,
    "deregister: it is not registered": 0,
    "reregister: it is not registered": 0,
    "register: both directions": 1,
    "deregister: both directions": 1,
    "batch: many are registered": 1,
    "poll: many are ready": 1,
    "poll: as many are ready as there is room for": 1,
    "batch: many are reregistered, nothing changes": 0,
    "batch: many get another trigger and interest": 1,
    "poll: many edges": 1,
    "batch: many are replaced by others": 1,
    "batch: many are deregistered, half of them were not registered": 1,
    "wake": 1,
    "wake: it was woken, and nobody was told": 0,
    "poll: a wake": 1,
    "wake: somebody was told": 1,
}
# epoll has one call for each change; a batch makes them in one call of C code.
EPOLL_CALLS = CALLS | {
    "batch: many are registered": MANY,
    "batch: many get another trigger and interest": MANY,
    "batch: many are replaced by others": MANY,
    "batch: many are deregistered, half of them were not registered": MANY // 2,
}


def run(backend: str, how: str, *before: str, **environment: str) -> dict[str, int]:
    """Runs the program, under the command `before` it; returns what it counted."""
    command = [*before, sys.executable, str(PROGRAM), backend, how]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def need(backend: str) -> None:
    if backend not in pollster.backend.available():
        pytest.skip(f"this machine has no {backend}")


def kqueue_calls():
    """The counter of the tests' kqueue."""
    need("kqueue")
    lib = pollster.backend.load("kqueue").lib
    if not hasattr(lib, "kqueue_calls"):
        pytest.skip("only the tests' own kqueue counts its calls")
    return lib.kqueue_calls


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """epoll_calls.c as a library."""
    need("epoll")
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler for what counts the calls")
    library = tmp_path_factory.mktemp("calls") / "epoll_calls.so"
    flags = ["-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-D_GNU_SOURCE"]
    source = str(FOLDER / "epoll_calls.c")
    subprocess.run([*compiler.split(), *flags, source, "-o", str(library), "-ldl"], check=True)
    return library


def test_kqueue_takes_one_call_for_each_thing_that_a_program_does() -> None:
    kqueue_calls()
    assert run("kqueue", "kqueue") == CALLS


def test_epoll_takes_one_call_for_each_thing_that_a_program_does(preloaded) -> None:
    assert run("epoll", "preloaded", LD_PRELOAD=str(preloaded)) == EPOLL_CALLS


# What the interpreter and the C library do when they like: memory, and locks for threads; and
# what a socket's repr() asks for, in the text of an error.
ANY_TIME = {"brk", "mmap", "munmap", "madvise", "mremap", "futex", "getsockname", "getpeername"}


def test_epoll_takes_no_call_of_another_kind(tmp_path) -> None:
    need("epoll")
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trial = subprocess.run([strace, "-o", os.devnull, sys.executable, "-c", ""], check=False)
    if trial.returncode != 0:
        pytest.skip("strace may not trace here")
    trace = tmp_path / "trace"
    run("epoll", "traced", strace, "-f", "-e", "signal=none", "-o", str(trace))
    seen: dict[str, list[str]] = {}
    now: list[str] = []
    for line in trace.read_text().splitlines():
        mark = re.match(r'\d+ +f?access(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)"', line)
        call = re.match(r"\d+ +(\w+)\(", line)
        if mark:
            now = seen[mark[1]] = []
        elif call and call[1] not in ANY_TIME:
            now.append(call[1])
    found = {name: seen[name] for name in EPOLL_CALLS}
    assert {name: len(calls) for name, calls in found.items()} == EPOLL_CALLS
    kinds = {name.partition(":")[0]: set[str]() for name in found}
    for name, calls in found.items():
        kinds[name.partition(":")[0]] |= {*calls}
    waits = kinds.pop("poll")
    assert waits <= {"epoll_wait", "epoll_pwait", "epoll_pwait2"}
    assert kinds.pop("wake") == {"write"}
    assert set.union(*kinds.values()) == {"epoll_ctl"}


# Where one call is not enough: each is needed for one behaviour on both kernels


@pytest.fixture
def cost(poll) -> Callable[[Events], int]:
    """How many kevent() calls a poll makes."""
    if poll.backend != "kqueue":
        pytest.skip("epoll reports a source as a whole, and a pipe's missing reader")
    calls = kqueue_calls()

    def cost(events: Events) -> int:
        before = calls()
        assert poll.poll(events, timeout=0)
        return int(calls() - before)

    return cost


def test_kqueue_asks_again_where_a_batch_was_full_of_the_halves_of_sources(poll, cost) -> None:
    """R1, R10: each source has two entries and takes one place; others may have been kept out."""
    with contextlib.ExitStack() as stack:
        for token in range(4):
            ours, peer = (stack.enter_context(end) for end in socket.socketpair())
            peer.send(b"x")
            poll.registry.register(ours, Token(token), R | W)
        assert 1 < cost(Events(8)) <= 3
        assert cost(Events(16)) == 1


def test_kqueue_switches_off_the_silent_half_of_a_one_shot_source(poll, cost, unix_pair) -> None:
    """R4: one event for the whole source."""
    ours, _ = unix_pair
    poll.registry.register(ours, Token(1), R | W, Trigger.ONESHOT)
    assert cost(Events(8)) == 2


def test_kqueue_looks_at_a_pipe_without_a_reader_before_each_poll(poll, cost, fds) -> None:
    """R3: FreeBSD has no knote for it, so a new reader of a FIFO would go unnoticed."""
    reader, writer = fds.pipe()
    fds.close(reader)
    poll.registry.register(writer, Token(1), W)
    events = Events(8)
    cost(events)
    assert [cost(events) for _ in range(3)] == [cost(events)] * 3
    poll.registry.deregister(writer)
    poll.registry.register(fds.pipe()[1], Token(2), W)
    assert cost(events) == 1


CHECK_EVERY = 4096  # epoll.c: of so many batches one is searched for what was closed (R9)
LONG = """
import ctypes, os
from pollster import Events, Interest, Poll, Token

calls = ctypes.CDLL(None).epoll_calls
with Poll(backend="epoll") as poll:
    for token in range(3):
        poll.registry.register(os.pipe()[1], Token(token), Interest.WRITABLE)
    events, before = Events(8), calls()
    for _ in range(10_000):
        poll.poll(events, 0)
    print(calls() - before)
"""


def test_epoll_looks_for_closed_sources_in_one_of_4096_polls(preloaded) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LONG],
        env={**os.environ, "LD_PRELOAD": str(preloaded)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == 10_000 + 10_000 // CHECK_EVERY * 3
