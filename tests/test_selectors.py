"""`PollsterSelector` as a selector: mistakes, other sources, threads, and what only it does.

`test_selector_cpython.py` has the rest of the interface, `test_selector_masks.py` what is reported.
"""

import asyncio
import contextlib
import copy
import errno
import gc
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest
from children import in_child

from pollster import AlreadyRegisteredError, Poll, Signals, Timer, Token, Waker
from pollster.selectors import PollsterSelector

from .conftest import WAIT, Descriptors, Pair, counts_references, open_descriptors


@pytest.fixture
def selector(backend: str) -> Iterator[PollsterSelector]:
    with PollsterSelector(backend=backend) as selector:
        yield selector


def fileobjs(selector: selectors.BaseSelector, timeout: float | None = WAIT) -> list[Any]:
    return [key.fileobj for key, _ in selector.select(timeout)]


# Mistakes


class WithFileno:
    def __init__(self, fd: Any) -> None:
        self.fd = fd

    def fileno(self) -> Any:
        return self.fd


def register_closed_number(s: selectors.BaseSelector, fds: Descriptors) -> object:
    reader, _ = fds.pipe()
    fds.close(reader)
    return s.register(reader, EVENT_READ)


def register_regular_file(s: selectors.BaseSelector, fds: Descriptors) -> object:
    return s.register(fds.keep(os.open(__file__, os.O_RDONLY)), EVENT_READ)


def register_twice(s: selectors.BaseSelector, fds: Descriptors) -> object:
    reader, _ = fds.pipe()
    s.register(reader, EVENT_READ)
    return s.register(WithFileno(reader), EVENT_WRITE)


def modify_closed_number(s: selectors.BaseSelector, fds: Descriptors) -> object:
    reader, _ = fds.pipe()
    s.register(reader, EVENT_READ)
    fds.close(reader)
    return s.modify(reader, EVENT_READ | EVENT_WRITE)


def modify_reused_number(s: selectors.BaseSelector, fds: Descriptors) -> object:
    reader, writer = fds.pipe()
    s.register(reader, EVENT_READ)
    os.dup2(writer, reader)
    return s.modify(reader, EVENT_READ | EVENT_WRITE)


def closed(use: Callable[[selectors.BaseSelector], object]) -> Callable[..., object]:
    def use_closed(s: selectors.BaseSelector, fds: Descriptors) -> object:
        s.register(fds.pipe()[0], EVENT_READ)
        s.close()
        return use(s)

    return use_closed


Mistake = Callable[[selectors.BaseSelector, Descriptors], object]
MISTAKES: dict[str, tuple[Mistake, type[Exception], int | None]] = {
    "no events": (lambda s, f: s.register(f.pipe()[0], 0), ValueError, None),
    "unknown events": (lambda s, f: s.register(f.pipe()[0], 4), ValueError, None),
    "events of no number": (lambda s, f: s.register(f.pipe()[0], "r"), TypeError, None),
    "negative number": (lambda s, f: s.register(-1, EVENT_READ), ValueError, None),
    "no file object": (lambda s, f: s.register(object(), EVENT_READ), ValueError, None),
    "None": (lambda s, f: s.register(None, EVENT_READ), ValueError, None),
    "odd fileno()": (lambda s, f: s.register(WithFileno("x"), EVENT_READ), ValueError, None),
    "closed file object": (lambda s, f: s.register(WithFileno(-1), EVENT_READ), ValueError, None),
    "closed number": (register_closed_number, OSError, errno.EBADF),
    "number never open": (lambda s, f: s.register(999_999, EVENT_READ), OSError, errno.EBADF),
    "number too large": (lambda s, f: s.register(1 << 31, EVENT_READ), OverflowError, None),
    "regular file": (register_regular_file, PermissionError, errno.EPERM),
    "registered twice": (register_twice, KeyError, None),
    "unregister unknown": (lambda s, f: s.unregister(f.pipe()[0]), KeyError, None),
    "unregister no file object": (lambda s, f: s.unregister(object()), ValueError, None),
    "modify unknown": (lambda s, f: s.modify(f.pipe()[0], EVENT_READ), KeyError, None),
    "modify unknown, unknown events": (lambda s, f: s.modify(f.pipe()[0], 9), KeyError, None),
    "modify no file object": (lambda s, f: s.modify(object(), EVENT_READ), ValueError, None),
    "modify closed number": (modify_closed_number, OSError, errno.EBADF),
    "modify reused number": (modify_reused_number, FileNotFoundError, errno.ENOENT),
    "get_key unknown": (lambda s, f: s.get_key(f.pipe()[0]), KeyError, None),
    "get_key no file object": (lambda s, f: s.get_key(object()), ValueError, None),
    "map of unknown": (lambda s, f: s.get_map()[f.pipe()[0]], KeyError, None),
    "change the map": (lambda s, f: s.get_map().__delitem__(0), AttributeError, None),
    "timeout of no number": (lambda s, f: s.select("1"), TypeError, None),
    "timeout NaN": (lambda s, f: s.select(float("nan")), ValueError, None),
    "closed: select": (closed(lambda s: s.select(0)), ValueError, None),
    "closed: register": (closed(lambda s: s.register(0, EVENT_READ)), ValueError, None),
    "closed: unregister": (closed(lambda s: s.unregister(0)), KeyError, None),
    "closed: modify": (closed(lambda s: s.modify(0, EVENT_READ)), KeyError, None),
    "closed: get_key": (closed(lambda s: s.get_key(0)), RuntimeError, None),
    "closed: fileno": (closed(lambda s: s.fileno()), ValueError, None),  # type: ignore[attr-defined]
}
mistakes = pytest.mark.parametrize(("make", "error", "number"), MISTAKES.values(), ids=MISTAKES)


def assert_is_refused(
    selector: selectors.BaseSelector,
    fds: Descriptors,
    make: Mistake,
    error: type[Exception],
    number: int | None,
) -> None:
    with pytest.raises(error) as caught:
        make(selector, fds)
    exact = {errno.EPERM: PermissionError, errno.ENOENT: FileNotFoundError}.get(number or 0, error)
    assert issubclass(caught.type, exact)
    assert error is OSError or caught.type.__mro__[-3:] == error.__mro__[-3:]
    assert getattr(caught.value, "errno", None) == number


@mistakes
def test_a_mistake_is_the_exception_that_it_is(
    selector: PollsterSelector, fds: Descriptors, make: Mistake, error: Any, number: int | None
) -> None:
    assert_is_refused(selector, fds, make, error, number)


@pytest.mark.skipif(
    not hasattr(selectors, "EpollSelector"), reason="it is epoll's selector that others follow"
)
@mistakes
def test_a_mistake_is_that_of_the_standard_library(
    fds: Descriptors, make: Mistake, error: Any, number: int | None
) -> None:
    with selectors.EpollSelector() as selector:
        assert_is_refused(selector, fds, make, error, number)


def test_after_a_refused_register_nothing_is_registered(
    selector: PollsterSelector, fds: Descriptors
) -> None:
    with pytest.raises(PermissionError):
        register_regular_file(selector, fds)
    assert not selector.get_map()
    assert selector.select(0) == []


@pytest.mark.parametrize("make", [modify_closed_number, modify_reused_number])
def test_after_a_refused_modify_it_is_not_registered(
    selector: PollsterSelector, fds: Descriptors, make: Mistake
) -> None:
    with pytest.raises(OSError, match="fd"):
        make(selector, fds)
    assert not selector.get_map()


@pytest.mark.parametrize("events", [0, 4])
def test_a_modify_without_sense_changes_nothing(
    selector: PollsterSelector, fds: Descriptors, events: int
) -> None:
    _, writer = fds.pipe()
    key = selector.register(writer, EVENT_WRITE)
    with pytest.raises(ValueError, match="invalid events"):
        selector.modify(writer, events)
    assert selector.select(WAIT) == [(key, EVENT_WRITE)]


def test_a_selector_can_not_be_copied(selector: PollsterSelector) -> None:
    with pytest.raises(TypeError, match="can't be copied"):
        copy.copy(selector)


def test_a_backend_that_is_not_here_is_named() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        PollsterSelector(backend="nosuch")


def test_it_says_what_it_is(selector: PollsterSelector, backend: str) -> None:
    assert repr(selector) == f"<PollsterSelector {backend}, 0 registered>"
    selector.close()
    assert repr(selector) == f"<PollsterSelector {backend}, closed>"


def test_importing_pollster_does_not_import_it() -> None:
    code = "import sys, pollster; sys.exit('pollster.selectors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# Keys


def test_a_modify_that_changes_nothing_returns_the_same_key(
    selector: PollsterSelector, unix_pair: Pair
) -> None:
    ours, _ = unix_pair
    key = selector.register(ours, EVENT_READ, [1])
    assert selector.modify(ours, EVENT_READ, [1]) is key
    other = selector.modify(ours, EVENT_READ, [2])
    assert other == selectors.SelectorKey(ours, ours.fileno(), EVENT_READ, [2])
    assert selector.get_key(ours) is other


def test_events_have_the_key_of_the_moment(selector: PollsterSelector, unix_pair: Pair) -> None:
    ours, _ = unix_pair
    first = selector.register(ours, EVENT_WRITE, 1)
    for _ in range(2):
        ((key, _),) = selector.select(WAIT)
        assert key is first
    second = selector.modify(ours, EVENT_WRITE, 2)
    ((key, _),) = selector.select(WAIT)
    assert key is second
    selector.unregister(ours)
    third = selector.register(ours, EVENT_WRITE, 3)
    ((key, _),) = selector.select(WAIT)
    assert key is third


def test_it_is_found_by_what_it_was_registered_as_and_by_number(
    selector: PollsterSelector, unix_pair: Pair
) -> None:
    ours, _ = unix_pair
    key = selector.register(ours, EVENT_READ)
    keys = selector.get_map()
    assert keys[ours] is keys[ours.fileno()] is keys[WithFileno(ours.fileno())] is key
    assert keys.get(12345, "none") == "none"
    assert list(keys) == [ours.fileno()]
    number = ours.fileno()
    ours.close()
    assert keys[ours] is key
    assert selector.unregister(ours) is key
    assert number not in keys


def test_what_select_returned_stays_as_it_is(selector: PollsterSelector, fds: Descriptors) -> None:
    """As with the standard library: a program that unregisters in its loop has to look."""
    ends = [fds.pipe()[1] for _ in range(3)]
    for end in ends:
        selector.register(end, EVENT_WRITE)
    seen = []
    for key, _ in selector.select(WAIT):
        if not seen:
            for other in set(ends) - {key.fd}:
                selector.unregister(other)
        seen.append(key.fd)
    assert sorted(seen) == sorted(ends)
    assert fileobjs(selector) == [seen[0]]


def test_all_that_is_ready_comes_at_once(selector: PollsterSelector, fds: Descriptors) -> None:
    _, writer = fds.pipe()
    ends = {fds.keep(os.dup(writer)) for _ in range(300)}
    for end in ends:
        selector.register(end, EVENT_WRITE)
    assert set(fileobjs(selector)) == ends
    for end in list(ends)[:299]:
        selector.unregister(end)
    assert len(fileobjs(selector)) == 1


@counts_references
def test_it_is_freed_though_its_data_leads_back_to_it(backend: str, unix_pair: Pair) -> None:
    Poll(backend=backend).close()  # the tests' kqueue frees a closed queue's descriptors then
    before = open_descriptors()
    selector = PollsterSelector(backend=backend)
    selector.register(unix_pair[0], EVENT_WRITE, [selector])
    selector.register(Timer.after(0), EVENT_READ, [selector])
    while len(selector.select(WAIT)) < 2:
        continue
    seen = weakref.ref(selector)
    del selector
    gc.collect()
    assert seen() is None
    Poll(backend=backend).close()
    assert open_descriptors() == before


@counts_references
def test_what_was_unregistered_is_let_go(selector: PollsterSelector) -> None:
    class Data:
        pass

    class Reader(WithFileno):
        pass

    ours, peer = socket.socketpair()
    reader, data = Reader(ours.fileno()), Data()
    seen = [weakref.ref(reader), weakref.ref(data)]
    with ours, peer:
        peer.send(b"x")
        selector.register(reader, EVENT_READ, data)
        assert fileobjs(selector) == [reader]
        selector.unregister(reader)
        del reader, data
        assert [one() for one in seen] == [None, None]


# Other sources


def test_timers_are_sources(selector: PollsterSelector) -> None:
    timer, never = Timer.after(0.01), Timer.after(1000)
    key = selector.register(timer, EVENT_READ, "data")
    other = selector.register(never, EVENT_READ)
    assert key.fileobj is timer
    assert key.fd < 0
    assert other.fd < 0
    assert list(selector.get_map().values()) == [key, other]
    assert selector.select(WAIT) == [(key, EVENT_READ)]
    assert selector.select(0) == []
    timer.set_after(0)
    key = selector.modify(timer, EVENT_READ, "other data")
    assert selector.select(WAIT) == [(key, EVENT_READ)]
    assert selector.get_key(timer) is selector.get_map()[key.fd] is key
    with pytest.raises(KeyError):
        selector.register(timer, EVENT_READ)
    assert selector.unregister(timer) is key
    with pytest.raises(KeyError):
        selector.unregister(timer)


def test_a_timer_is_only_readable(selector: PollsterSelector) -> None:
    timer = Timer.after(0)
    with pytest.raises(ValueError, match="READABLE"):
        selector.register(timer, EVENT_WRITE)
    key = selector.register(timer, EVENT_READ)
    with pytest.raises(ValueError, match="READABLE"):
        selector.modify(timer, EVENT_READ | EVENT_WRITE)
    assert selector.select(WAIT) == [(key, EVENT_READ)]


def test_signals_are_sources(selector: PollsterSelector, backend: str) -> None:
    with Signals(signal.SIGUSR1, backend=backend) as signals:
        key = selector.register(signals, EVENT_READ)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert selector.select(WAIT) == [(key, EVENT_READ)]
        assert signals.take() == {signal.SIGUSR1: 1}
        selector.unregister(signals)


def test_a_source_of_several_descriptors_has_one_key(selector: PollsterSelector) -> None:
    class Both:
        def __init__(self) -> None:
            self.ends = socket.socketpair()

        def register(self, registry: Any, token: Any, interest: Any, trigger: Any) -> None:
            for end in self.ends:
                registry.register(end, token, interest, trigger)

        def reregister(self, registry: Any, token: Any, interest: Any, trigger: Any) -> None:
            for end in self.ends:
                registry.reregister(end, token, interest, trigger)

        def deregister(self, registry: Any) -> None:
            for end in self.ends:
                registry.deregister(end)

    both = Both()
    key = selector.register(both, EVENT_WRITE)
    assert selector.select(WAIT) == [(key, EVENT_WRITE)] * 2
    key = selector.modify(both, EVENT_READ)
    assert selector.select(0) == []
    both.ends[0].send(b"x")
    assert selector.select(WAIT) == [(key, EVENT_READ)]
    selector.unregister(both)
    assert selector.select(0) == []
    for end in both.ends:
        end.close()


def test_a_waker_ends_a_select(selector: PollsterSelector) -> None:
    waker = Waker(selector.registry, Token(3))
    thread = threading.Thread(target=waker.wake)
    thread.start()
    assert selector.select() == []
    thread.join()
    key = selector.register(waker, EVENT_READ, "woken")
    waker.wake()
    assert selector.select() == [(key, EVENT_READ)]
    selector.unregister(waker)
    with pytest.raises(OSError, match="not registered"):
        waker.wake()


def test_a_waker_can_be_modified(selector: PollsterSelector) -> None:
    waker = Waker(selector.registry, 3)
    selector.register(waker, EVENT_READ, 1)
    key = selector.modify(waker, EVENT_READ, 2)
    waker.wake()
    assert selector.select() == [(key, EVENT_READ)]
    with pytest.raises(ValueError, match="EVENT_READ"):
        selector.modify(waker, EVENT_WRITE)
    waker.wake()
    assert selector.select() == [(key, EVENT_READ)]


def test_a_waker_that_can_not_be_is_refused(selector: PollsterSelector, poll: Poll) -> None:
    with pytest.raises(ValueError, match=r"selector\.registry"):
        selector.register(Waker(poll.registry, 1), EVENT_READ)
    with pytest.raises(ValueError, match="EVENT_READ"):
        selector.register(Waker(selector.registry, 1), EVENT_WRITE)
    with pytest.raises(ValueError, match="token"):
        selector.register(Waker(selector.registry, 1 << 63), EVENT_READ)
    selector.register(Waker(selector.registry, 2), EVENT_READ)
    with pytest.raises(ValueError, match="token"):
        selector.register(Waker(selector.registry, 2), EVENT_READ)
    assert len(selector.get_map()) == 1


def test_tokens_of_wakers_are_no_descriptors(selector: PollsterSelector, unix_pair: Pair) -> None:
    ours, _ = unix_pair
    waker = Waker(selector.registry, ours.fileno())
    keys = [selector.register(ours, EVENT_WRITE), selector.register(waker, EVENT_READ)]
    waker.wake()
    assert sorted(selector.select(WAIT), key=lambda found: found[1]) == [
        (keys[1], EVENT_READ),
        (keys[0], EVENT_WRITE),
    ]


def test_one_selector_is_a_source_of_another(selector: PollsterSelector, backend: str) -> None:
    ours, peer = socket.socketpair()
    with ours, peer, PollsterSelector(backend=backend) as outer:
        selector.register(ours, EVENT_READ)
        outer.register(selector, EVENT_READ)
        assert outer.select(0) == []
        peer.send(b"x")
        assert fileobjs(outer) == [selector]


# Threads


def test_what_another_thread_registers_is_seen(
    selector: PollsterSelector, fds: Descriptors
) -> None:
    _, writer = fds.pipe()
    thread = threading.Thread(target=selector.register, args=(writer, EVENT_WRITE))
    thread.start()
    assert fileobjs(selector, None) == [writer]
    thread.join()


def test_several_threads_may_select(selector: PollsterSelector, unix_pair: Pair) -> None:
    ours, peer = unix_pair
    selector.register(ours, EVENT_READ)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(fileobjs(selector))) for _ in range(3)]
    for thread in threads:
        thread.start()
    peer.send(b"x")
    for thread in threads:
        thread.join()
    assert found == [[ours]] * 3


def test_closing_ends_the_selects_of_others(selector: PollsterSelector) -> None:
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            selector.select()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    selector.close()
    thread.join(WAIT)
    assert len(errors) == 1


# What only it does


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kqueue forgets what is closed")
def test_what_was_closed_too_early_burns_no_cpu(
    selector: PollsterSelector, fds: Descriptors
) -> None:
    """The copy keeps the kernel reporting: the standard library's select() returns [] at once."""
    _, writer = fds.pipe()
    fds.keep(os.dup(writer))
    selector.register(writer, EVENT_WRITE)
    fds.close(writer)
    selector.unregister(writer)
    before, started = time.process_time(), time.monotonic()
    assert selector.select(0.5) == []
    assert time.monotonic() - started >= 0.5
    assert time.process_time() - before < 0.25


def test_a_number_that_came_back_is_registered_anew(
    selector: PollsterSelector, fds: Descriptors
) -> None:
    """The standard library's selector says EEXIST, on Linux: the kernel has the old one still."""
    _, writer = fds.pipe()
    copy = fds.keep(os.dup(writer))
    selector.register(writer, EVENT_WRITE)
    fds.close(writer)
    selector.unregister(writer)
    assert fds.keep(os.dup2(copy, writer)) == writer
    with contextlib.suppress(AlreadyRegisteredError):
        selector.register(writer, EVENT_WRITE)
    assert fileobjs(selector) == [writer]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork(2)")
def test_a_forked_child_does_not_make_its_parent_deaf(
    selector: PollsterSelector, unix_pair: Pair
) -> None:
    ours, peer = unix_pair
    selector.register(ours, EVENT_READ)

    def work() -> None:
        selector.unregister(ours)
        with pytest.raises(RuntimeError, match="forked"):
            selector.register(peer, EVENT_READ)
        with pytest.raises(RuntimeError, match="forked"):
            selector.select(0)
        selector.close()

    in_child(work)
    peer.send(b"x")
    assert fileobjs(selector) == [ours]


def test_a_timeout_is_not_rounded_to_milliseconds(selector: PollsterSelector) -> None:
    deadline = time.monotonic() + WAIT
    took = 1.0
    while took >= 0.001 and time.monotonic() < deadline:
        started = time.monotonic()
        assert selector.select(0.0001) == []
        took = time.monotonic() - started
        assert took >= 0.0001
    assert took < 0.001


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_a_timeout_may_be_of_any_size(
    selector: PollsterSelector, unix_pair: Pair, timeout: float
) -> None:
    selector.register(unix_pair[0], EVENT_WRITE)
    assert len(selector.select(timeout)) == 1


@pytest.mark.parametrize("timeout", [0, -1, -0.5, float("-inf")])
def test_a_timeout_of_nothing_does_not_wait(selector: PollsterSelector, timeout: float) -> None:
    assert selector.select(timeout) == []


# asyncio


class Ends(asyncio.Protocol):
    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(error)


@pytest.fixture
def loop(selector: PollsterSelector) -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.SelectorEventLoop(selector)
    yield loop
    loop.close()


def run(loop: asyncio.AbstractEventLoop, work: Any) -> None:
    loop.run_until_complete(asyncio.wait_for(work, WAIT))


def test_asyncio_echoes_over_it(loop: asyncio.AbstractEventLoop) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 1_000_000)
        writer.write_eof()
        assert len(await reader.read()) == 1_000_000
        writer.close()
        server.close()

    run(loop, work())


def test_asyncio_learns_from_a_write_end_that_nobody_reads(loop: asyncio.AbstractEventLoop) -> None:
    async def work() -> None:
        reader, writer = os.pipe()
        transport, protocol = await loop.connect_write_pipe(Ends, os.fdopen(writer, "wb", 0))
        await asyncio.sleep(0.01)
        assert not protocol.lost.done()
        os.close(reader)
        assert await protocol.lost is None
        transport.close()

    run(loop, work())
