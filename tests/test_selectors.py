"""`PollsterSelector` as a selector: mistakes, other sources, threads, and what only it does.

`test_selector_cpython.py` has the rest of the interface, `test_selector_masks.py` what is reported.
"""

import asyncio
import contextlib
import copy
import errno
import functools
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
from pollster.selectors import InPython, PollsterSelector

from .conftest import WAIT, Descriptors, Pair, counts_references, open_descriptors

Make = Callable[..., InPython]


@pytest.fixture(params=[PollsterSelector, InPython], ids=["C", "Python"])
def make(request: pytest.FixtureRequest, backend: str) -> Make:
    """What makes a selector: what users have, and what it leaves to Python code."""
    return functools.partial(request.param, backend=backend)


@pytest.fixture
def selector(make: Make) -> Iterator[InPython]:
    with make() as selector:
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
mistakes = pytest.mark.parametrize(("mistake", "error", "number"), MISTAKES.values(), ids=MISTAKES)


def assert_is_refused(
    selector: selectors.BaseSelector,
    fds: Descriptors,
    mistake: Mistake,
    error: type[Exception],
    number: int | None,
) -> None:
    with pytest.raises(error) as caught:
        mistake(selector, fds)
    exact = {errno.EPERM: PermissionError, errno.ENOENT: FileNotFoundError}.get(number or 0, error)
    assert issubclass(caught.type, exact)
    assert error is OSError or caught.type.__mro__[-3:] == error.__mro__[-3:]
    assert getattr(caught.value, "errno", None) == number


@mistakes
def test_a_mistake_is_the_exception_that_it_is(
    selector: InPython, fds: Descriptors, mistake: Mistake, error: Any, number: int | None
) -> None:
    assert_is_refused(selector, fds, mistake, error, number)


@pytest.mark.skipif(
    not hasattr(selectors, "EpollSelector"), reason="it is epoll's selector that others follow"
)
@mistakes
def test_a_mistake_is_that_of_the_standard_library(
    fds: Descriptors, mistake: Mistake, error: Any, number: int | None
) -> None:
    with selectors.EpollSelector() as selector:
        assert_is_refused(selector, fds, mistake, error, number)


def test_after_a_refused_register_nothing_is_registered(
    selector: InPython, fds: Descriptors
) -> None:
    with pytest.raises(PermissionError):
        register_regular_file(selector, fds)
    assert not selector.get_map()
    assert selector.select(0) == []


@pytest.mark.parametrize("mistake", [modify_closed_number, modify_reused_number])
def test_after_a_refused_modify_it_is_not_registered(
    selector: InPython, fds: Descriptors, mistake: Mistake
) -> None:
    with pytest.raises(OSError, match="fd"):
        mistake(selector, fds)
    assert not selector.get_map()


@pytest.mark.parametrize("events", [0, 4])
def test_a_modify_without_sense_changes_nothing(
    selector: InPython, fds: Descriptors, events: int
) -> None:
    _, writer = fds.pipe()
    key = selector.register(writer, EVENT_WRITE)
    with pytest.raises(ValueError, match="invalid events"):
        selector.modify(writer, events)
    assert selector.select(WAIT) == [(key, EVENT_WRITE)]


def test_a_selector_can_not_be_copied(selector: InPython) -> None:
    with pytest.raises(TypeError, match="can't be copied"):
        copy.copy(selector)


def test_a_backend_that_is_not_here_is_named() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        PollsterSelector(backend="nosuch")


def test_it_says_what_it_is(backend: str, fds: Descriptors) -> None:
    selector = PollsterSelector(backend=backend)
    selector.register(fds.pipe()[0], EVENT_READ)
    assert repr(selector) == f"<PollsterSelector {backend}, 1 registered>"
    selector.close()
    assert repr(selector) == f"<PollsterSelector {backend}, closed>"


def test_importing_pollster_does_not_import_it() -> None:
    code = "import sys, pollster; sys.exit('pollster.selectors' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


# Keys


def test_a_modify_that_changes_nothing_returns_the_same_key(
    selector: InPython, unix_pair: Pair
) -> None:
    ours, _ = unix_pair
    key = selector.register(ours, EVENT_READ, [1])
    assert selector.modify(ours, EVENT_READ, [1]) is key
    other = selector.modify(ours, EVENT_READ, [2])
    assert other == selectors.SelectorKey(ours, ours.fileno(), EVENT_READ, [2])
    assert selector.get_key(ours) is other


def test_events_have_the_key_of_the_moment(selector: InPython, unix_pair: Pair) -> None:
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
    selector: InPython, unix_pair: Pair
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


def test_what_select_returned_stays_as_it_is(selector: InPython, fds: Descriptors) -> None:
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


def test_all_that_is_ready_comes_at_once(selector: InPython, fds: Descriptors) -> None:
    _, writer = fds.pipe()
    ends = {fds.keep(os.dup(writer)) for _ in range(300)}
    for end in ends:
        selector.register(end, EVENT_WRITE)
    assert set(fileobjs(selector)) == ends
    for end in list(ends)[:299]:
        selector.unregister(end)
    assert len(fileobjs(selector)) == 1


@counts_references
def test_it_is_freed_though_its_data_leads_back_to_it(
    make: Make, backend: str, unix_pair: Pair
) -> None:
    Poll(backend=backend).close()  # the tests' kqueue frees a closed queue's descriptors then
    before = open_descriptors()
    selector = make()
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
def test_what_was_unregistered_is_let_go(selector: InPython) -> None:
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


def test_closing_lets_go_of_all(selector: InPython, unix_pair: Pair) -> None:
    class Data:
        pass

    data = Data()
    seen = weakref.ref(data)
    selector.register(unix_pair[0], EVENT_WRITE, data)
    found = selector.select(WAIT)
    del data
    selector.close()
    assert found[0][0].data is seen()
    del found
    gc.collect()
    assert seen() is None


def test_names_of_arguments(selector: InPython, unix_pair: Pair) -> None:
    ours, _ = unix_pair
    key = selector.register(fileobj=ours, events=EVENT_WRITE, data=1)
    assert key == (ours, ours.fileno(), EVENT_WRITE, 1)
    assert selector.modify(ours, data=2, events=EVENT_WRITE).data == 2
    assert selector.modify(ours, EVENT_WRITE).data is None
    assert len(selector.select(timeout=WAIT)) == 1
    assert selector.unregister(fileobj=ours).fileobj is ours
    for call in (
        lambda: selector.register(ours, EVENT_READ, None, None),  # type: ignore[call-arg]
        lambda: selector.register(ours),  # type: ignore[call-arg]
        lambda: selector.register(ours, EVENT_READ, events=1),  # type: ignore[misc]
        lambda: selector.select(0, 0),  # type: ignore[call-arg]
        lambda: selector.select(time=0),  # type: ignore[call-arg]
        lambda: selector.unregister(),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError, match="argument"):
            call()
    assert not selector.get_map()


def test_integers_may_be_of_any_class(selector: InPython, fds: Descriptors) -> None:
    class Number(int):
        pass

    _, writer = fds.pipe()
    key = selector.register(Number(writer), Number(EVENT_WRITE))
    assert selector.select(WAIT) == [(key, EVENT_WRITE)]
    assert selector.modify(writer, Number(EVENT_WRITE)) is key
    assert selector.unregister(Number(writer)) is key


def test_an_error_of_fileno_is_passed_on(selector: InPython, fds: Descriptors) -> None:
    class Odd(WithFileno):
        def fileno(self) -> Any:
            if isinstance(self.fd, BaseException):
                raise self.fd
            return self.fd

    _, writer = fds.pipe()
    selector.register(Odd(writer), EVENT_WRITE)
    for error in KeyboardInterrupt(), OSError("odd"):
        for use in selector.unregister, selector.get_key:
            with pytest.raises(type(error)):
                use(Odd(error))
        with pytest.raises(type(error)):
            selector.register(Odd(error), EVENT_READ)
    with pytest.raises(ValueError, match="invalid file object"):
        selector.register(Odd(TypeError()), EVENT_READ)
    assert len(selector.get_map()) == 1


def test_a_comparison_of_data_that_fails_changes_nothing(
    selector: InPython, fds: Descriptors
) -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    _, writer = fds.pipe()
    key = selector.register(writer, EVENT_WRITE, Odd())
    with pytest.raises(ZeroDivisionError):
        selector.modify(writer, EVENT_WRITE, Odd())
    assert selector.get_key(writer) is key


def test_events_that_went_from_the_interest_are_not_told(
    selector: InPython, unix_pair: Pair
) -> None:
    ours, peer = unix_pair
    peer.send(b"x")
    selector.register(ours, EVENT_READ | EVENT_WRITE)
    assert [mask for _, mask in selector.select(WAIT)] == [EVENT_READ | EVENT_WRITE]
    for events in EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE:
        key = selector.modify(ours, events)
        for _ in range(2):
            assert selector.select(WAIT) == [(key, events)]


def test_without_its_init_it_says_so() -> None:
    class Empty(PollsterSelector):
        def __init__(self) -> None:
            pass

    empty = Empty()
    for use in (
        empty.select,
        lambda: empty.select(-1),
        lambda: empty.register(0, EVENT_READ),
        lambda: empty.modify(0, EVENT_READ),
        lambda: empty.unregister(0),
        lambda: empty._wait(0),
        lambda: empty._change_descriptor(0, selectors.SelectorKey(0, 0, EVENT_READ, None)),
    ):
        with pytest.raises(RuntimeError, match="no queue"):
            use()


def test_a_handler_that_raises_ends_a_select_and_harms_nothing(
    selector: InPython, unix_pair: Pair
) -> None:
    class AlarmError(Exception):
        pass

    def handler(*_: object) -> None:
        selector.register(unix_pair[0], EVENT_WRITE)
        raise AlarmError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(AlarmError):
            selector.select(WAIT)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert fileobjs(selector) == [unix_pair[0]]


def test_signals_make_a_select_no_longer(selector: InPython) -> None:
    """PEP 475: each goes on with what is left of the time, not with the whole."""
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        if handled == 500:
            signal.setitimer(signal.ITIMER_REAL, 0)

    before = signal.signal(signal.SIGALRM, handler)
    begin = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
        while not handled:
            assert selector.select(0.3) == []
    finally:
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert left > 0, "the select outlasted 500 signals"
    assert time.monotonic() - begin >= 0.3


GROWING = """
import os, resource, selectors, sys
from pollster.selectors import PollsterSelector

numbers = [os.dup(1) for _ in range(65)]  # for more than a batch has room for at first

def work(rounds):
    for _ in range(rounds):
        with PollsterSelector(backend=sys.argv[1]) as selector:
            for number in numbers:
                selector.register(number, selectors.EVENT_WRITE)
                if number == numbers[0]:
                    selector.select(0)
            assert len(selector.select(0)) == len(numbers)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = work(100)
print(work(600) - before)
"""


def test_a_select_that_needs_more_room_leaves_nothing_behind(backend: str) -> None:
    """600 of the first batches, and the selectors that they would keep, are some MB."""
    done = subprocess.run(
        [sys.executable, "-c", GROWING, backend], stdout=subprocess.PIPE, check=True, text=True
    )
    assert int(done.stdout) < (1 << 20 if sys.platform == "darwin" else 1 << 10)


# Other sources


def test_timers_are_sources(selector: InPython) -> None:
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


def test_a_timer_is_only_readable(selector: InPython) -> None:
    timer = Timer.after(0)
    with pytest.raises(ValueError, match="READABLE"):
        selector.register(timer, EVENT_WRITE)
    key = selector.register(timer, EVENT_READ)
    with pytest.raises(ValueError, match="READABLE"):
        selector.modify(timer, EVENT_READ | EVENT_WRITE)
    assert selector.select(WAIT) == [(key, EVENT_READ)]


def test_a_timer_for_a_single_use_has_its_key_until_it_is_unregistered(selector, make) -> None:
    timer = Timer.after(0, once=True)
    selector.register(timer, EVENT_READ, "first")
    assert fileobjs(selector) == [timer]
    assert list(selector.registry) == []
    assert selector.unregister(timer).data == "first"
    with make() as other:
        timer.set_after(0)
        other.register(timer, EVENT_READ)
        assert fileobjs(other) == [timer]
    assert fileobjs(selector, 0) == []


@counts_references
def test_a_timer_for_a_single_use_is_let_go_of_by_the_queue(selector) -> None:
    timer = Timer.after(0, once=True)
    holders = sys.getrefcount(timer)
    selector.register(timer, EVENT_READ)
    assert fileobjs(selector) == [timer]
    selector.unregister(timer)
    assert sys.getrefcount(timer) == holders


def test_signals_are_sources(selector: InPython, backend: str) -> None:
    with Signals(signal.SIGUSR1, backend=backend) as signals:
        key = selector.register(signals, EVENT_READ)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert selector.select(WAIT) == [(key, EVENT_READ)]
        assert signals.take() == {signal.SIGUSR1: 1}
        selector.unregister(signals)


def test_a_source_of_several_descriptors_has_one_key(selector: InPython) -> None:
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


def test_a_waker_ends_a_select(selector: InPython) -> None:
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


def test_a_waker_can_be_modified(selector: InPython) -> None:
    waker = Waker(selector.registry, 3)
    selector.register(waker, EVENT_READ, 1)
    key = selector.modify(waker, EVENT_READ, 2)
    waker.wake()
    assert selector.select() == [(key, EVENT_READ)]
    with pytest.raises(ValueError, match="EVENT_READ"):
        selector.modify(waker, EVENT_WRITE)
    waker.wake()
    assert selector.select() == [(key, EVENT_READ)]


def test_a_waker_that_can_not_be_is_refused(selector: InPython, poll: Poll) -> None:
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


def test_tokens_of_wakers_are_no_descriptors(selector: InPython, unix_pair: Pair) -> None:
    ours, _ = unix_pair
    waker = Waker(selector.registry, ours.fileno())
    keys = [selector.register(ours, EVENT_WRITE), selector.register(waker, EVENT_READ)]
    waker.wake()
    assert sorted(selector.select(WAIT), key=lambda found: found[1]) == [
        (keys[1], EVENT_READ),
        (keys[0], EVENT_WRITE),
    ]


def test_one_selector_is_a_source_of_another(selector: InPython, make: Make) -> None:
    ours, peer = socket.socketpair()
    with ours, peer, make() as outer:
        selector.register(ours, EVENT_READ)
        outer.register(selector, EVENT_READ)
        assert outer.select(0) == []
        peer.send(b"x")
        assert fileobjs(outer) == [selector]


# Threads


def test_what_another_thread_registers_is_seen(selector: InPython, fds: Descriptors) -> None:
    _, writer = fds.pipe()
    thread = threading.Thread(target=selector.register, args=(writer, EVENT_WRITE))
    thread.start()
    assert fileobjs(selector, None) == [writer]
    thread.join()


def test_several_threads_may_select(selector: InPython, unix_pair: Pair) -> None:
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


def test_closing_ends_the_selects_of_others(selector: InPython) -> None:
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
def test_what_was_closed_too_early_burns_no_cpu(selector: InPython, fds: Descriptors) -> None:
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


def test_a_number_that_came_back_is_registered_anew(selector: InPython, fds: Descriptors) -> None:
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
def test_a_forked_child_does_not_make_its_parent_deaf(selector: InPython, unix_pair: Pair) -> None:
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


def test_a_timeout_is_not_rounded_to_milliseconds(selector: InPython) -> None:
    deadline = time.monotonic() + WAIT
    took = 1.0
    while took >= 0.001 and time.monotonic() < deadline:
        started = time.monotonic()
        assert selector.select(0.0001) == []
        took = time.monotonic() - started
        assert took >= 0.0001
    assert took < 0.001


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_a_timeout_may_be_of_any_size(selector: InPython, unix_pair: Pair, timeout: float) -> None:
    selector.register(unix_pair[0], EVENT_WRITE)
    assert len(selector.select(timeout)) == 1


@pytest.mark.parametrize("timeout", [0, -1, -0.5, float("-inf")])
def test_a_timeout_of_nothing_does_not_wait(selector: InPython, timeout: float) -> None:
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
def loop(selector: InPython) -> Iterator[asyncio.AbstractEventLoop]:
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
