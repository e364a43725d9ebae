"""A batch does what its changes do one by one: random ones, on every back end.

Two Polls watch the same descriptors. What is changed in one with `batch()`, all together, is
changed in the other step by step; then both must have raised the same errors, have the same
registered, and report the same. Some sources are closed before, some numbers used again by another
kind of file, some peers gone. The tests' kqueue also fails on demand.

POLLSTER_BATCH_EXAMPLES makes a long run of it.
"""

import contextlib
import errno
import os
import socket
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

import pollster.backend
from pollster import BatchError, Interest, Poll, Registry, Token, Trigger

R, W = Interest.READABLE, Interest.WRITABLE
EXAMPLES = int(os.environ.get("POLLSTER_BATCH_EXAMPLES", "150"))
EDGES = (Trigger.EDGE, Trigger.EDGE_ONESHOT)
NAMES = ("readable", "writable", "priority", "read_closed", "write_closed", "error")

PLACES = ("pipe reader", "pipe writer", "socket", "other socket", "queue", "lone writer")
KINDS = ("closed", "pipe reader", "pipe writer", "socket", "file", "lone writer", "lone reader")


@dataclass(eq=False)
class Source:
    """A source of one change's own, so that a failure tells whose it is."""

    fd: int

    def fileno(self) -> int:
        """Returns it."""
        return self.fd


@dataclass(frozen=True)
class Change:
    """A method of a registry and what it is called with; `place`, in PLACES, is the source."""

    method: str
    place: int
    token: int = 0
    interest: Interest = R
    trigger: Trigger = Trigger.LEVEL

    def make(self, registry: Registry, fds: list[int]) -> Source:
        """Calls it; returns its source."""
        source = Source(fds[self.place])
        how = (Token(self.token), self.interest, self.trigger)
        arguments = () if self.method == "deregister" else how
        getattr(registry, self.method)(source, *arguments)
        return source


Failures = dict[int, tuple[type[Exception], int | None]]  # by the number of the change


places = st.integers(0, len(PLACES) - 1)
tokens = st.integers(0, 3)
interests = st.sampled_from([R, W, R | W])
triggers = st.sampled_from(Trigger)


def changes_of(*methods: str) -> st.SearchStrategy[Change]:
    method = st.sampled_from(methods)
    return st.builds(Change, method, places, tokens, interests, triggers)


worlds = {
    "before": st.lists(changes_of("register"), max_size=6),
    "is_polled": st.booleans(),
    "turned": st.lists(st.tuples(places, st.sampled_from(KINDS)), max_size=3),
    "changes": st.lists(changes_of("register", "reregister", "deregister"), max_size=12),
}


class World:
    """Descriptors of each kind, under numbers that stay the same, and two Polls over them."""

    def __init__(self, backend: str) -> None:
        self.stack = contextlib.ExitStack()
        self.open: dict[int, int] = {}
        self.inner, self.batched, self.stepped = (
            self.stack.enter_context(Poll(backend=backend)) for _ in range(3)
        )
        self.inner.registry.register(self.pipe()[0], Token(0), R)
        reader, writer = self.pipe()
        ours, peer = self.sockets()
        queue = self.inner.fileno()
        if backend != "kqueue":  # the tests' kqueue is one under its own number only
            queue = self.keep(os.dup(queue))
        self.fds = [reader, writer, ours, peer, queue, self.lone("writer")]

    def keep(self, fd: int) -> int:
        os.set_blocking(fd, False)
        self.open[fd] = fd
        return fd

    def pipe(self) -> tuple[int, int]:
        reader, writer = os.pipe()
        return self.keep(reader), self.keep(writer)

    def sockets(self) -> tuple[int, int]:
        ours, peer = socket.socketpair()
        return self.keep(ours.detach()), self.keep(peer.detach())

    def lone(self, which: str) -> int:
        """An end of a pipe whose other end is gone."""
        reader, writer = self.pipe()
        own, other = (reader, writer) if which == "reader" else (writer, reader)
        os.close(self.open.pop(other))
        return own

    def turn(self, place: int, kind: str) -> None:
        """Closes a source without a word to the Polls; its number becomes another file's."""
        number = self.fds[place]
        if PLACES[place] == "queue":
            return  # the tests' kqueue ends with its number
        if number in self.open:
            os.close(self.open.pop(number))
        if kind == "closed":
            return
        if kind == "file":
            with tempfile.TemporaryFile() as file:
                fresh = os.dup(file.fileno())
        elif kind == "socket":
            fresh, _ = self.sockets()
        elif kind.startswith("lone"):
            fresh = self.lone(kind.removeprefix("lone "))
        else:
            fresh = self.pipe()[kind == "pipe writer"]
        self.open.pop(fresh, None)
        if fresh != number:
            os.dup2(fresh, number)
            os.close(fresh)
        self.open[number] = number

    def send(self) -> None:
        """Makes readable what can be."""
        for fd in self.open:
            with contextlib.suppress(OSError):
                os.write(fd, b"x")

    def close(self) -> None:
        self.stack.close()
        for fd in self.open:
            os.close(fd)


def kind_of(error: Exception) -> tuple[type[Exception], int | None]:
    return type(error), getattr(error, "errno", None)


def all_at_once(poll: Poll, fds: list[int], changes: list[Change]) -> Failures:
    sources: list[Source] = []
    try:
        with poll.registry.batch() as batch:
            sources.extend(change.make(batch, fds) for change in changes)
    except BatchError as group:
        assert [error for _, error in group.failures] == [*group.exceptions]
        numbers = [sources.index(source) for source, _ in group.failures]
        assert numbers == sorted({*numbers})
        kinds = [kind_of(error) for error in group.exceptions]
        return dict(zip(numbers, kinds, strict=True))
    return {}


def one_by_one(
    poll: Poll, fds: list[int], changes: list[Change], left_out: Collection[int] = ()
) -> Failures:
    failures: Failures = {}
    for number, change in enumerate(changes):
        if number in left_out:
            continue
        try:
            change.make(poll.registry, fds)
        except OSError as error:
            failures[number] = kind_of(error)
    return failures


def registered(poll: Poll) -> list[tuple[object, ...]]:
    return sorted((source.fileno(), *how) for source, *how in poll.registry)


def reports(poll: Poll) -> list[tuple[int, ...]]:
    """What a poll says, as (token, predicates)."""
    return sorted(
        (event.token, *(getattr(event, f"is_{name}") for name in NAMES))
        for event in poll.poll(timeout=0)
    )


def said(poll: Poll) -> list[list[tuple[int, ...]]]:
    """Two polls: the second tells what is disarmed, and what repeats."""
    return [reports(poll), reports(poll)]


def expect_the_same(
    backend: str,
    before: list[Change],
    is_polled: bool,
    turned: list[tuple[int, str]],
    changes: list[Change],
    fail: Callable[[int], None] = lambda times: None,
) -> None:
    """`fail`, with a number, makes the next changes fail for want of memory, which only the batch
    then lacks: what it has reported so is left out of the steps."""
    world = World(backend)
    try:
        for poll in (world.batched, world.stepped):
            one_by_one(poll, world.fds, before)
        world.send()
        if is_polled:
            assert said(world.batched) == said(world.stepped)
        for place, kind in turned:
            world.turn(place, kind)
        fail(1)
        found = all_at_once(world.batched, world.fds, changes)
        fail(0)
        lacked = {number for number, (_, why) in found.items() if why == errno.ENOMEM}
        expected = one_by_one(world.stepped, world.fds, changes, left_out=lacked)
        assert {number: found[number] for number in found if number not in lacked} == expected
        assert registered(world.batched) == registered(world.stepped)
        assert said(world.batched) == said(world.stepped)
        world.send()
        assert said(world.batched) == said(world.stepped)
    finally:
        fail(0)
        world.close()


@given(**worlds)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_batch_does_what_its_changes_do_one_by_one(
    backend, before, is_polled, turned, changes
) -> None:
    expect_the_same(backend, before, is_polled, turned, changes)


@given(fault=st.sampled_from([("ENOMEM", 1), ("EINTR", 20)]), **worlds)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_batch_in_a_kernel_that_fails_reports_what_it_has_not_made(
    fault, before, is_polled, turned, changes
) -> None:
    """One change lacks memory: where the one that puts back what it undid does too, the
    registration is lost, as with a single change. Whether a writer without a reader is the old one
    or another under its number is found by a change that may lack memory as well: so no pipe takes
    another's number here. An edge that was put back may be told again (R5): so there is none."""
    before = [change for change in before if change.trigger is not Trigger.EDGE]
    turned = [(place, kind) for place, kind in turned if kind in ("closed", "socket", "file")]
    if "kqueue" not in pollster.backend.available():
        pytest.skip("this machine has no kqueue")
    lib = pollster.backend.load("kqueue").lib
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue fails on demand")

    def fail(switch: int) -> None:
        name, times = fault
        lib.kqueue_misbehave(name.encode(), switch * times)

    expect_the_same("kqueue", before, is_polled, turned, changes, fail)
