"""An iteration of `pollster.asyncio`'s loop: in C or asyncio's own, nobody can tell which."""

import asyncio
import contextvars
import gc
import platform
import signal
import socket
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import pollster.asyncio
from pollster.selectors import PollsterSelector

LIMIT = 120


class AsAsyncio(pollster.asyncio.EventLoop):
    """Leaves its iterations to asyncio."""

    def _is_plain(self) -> bool:
        return False


@pytest.fixture(params=[pollster.asyncio.EventLoop, AsAsyncio], ids=["C", "asyncio"])
def loop(request: pytest.FixtureRequest, backend: str) -> Iterator[pollster.asyncio.EventLoop]:
    loop = request.param(PollsterSelector(backend=backend))
    loop.call_later(LIMIT, loop.stop)
    yield loop
    loop.close()


def callers() -> list[str]:
    """Returns the names of the functions that led to a callback."""
    names: list[str] = []
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return names


def run(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    loop.call_soon(callback, *args)
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="PyPy runs none of it")
def test_it_is_in_c_but_in_debug_mode(backend: str) -> None:
    found: list[str] = []
    loop = pollster.asyncio.EventLoop(PollsterSelector(backend=backend))
    for debug in (False, True):
        loop.set_debug(debug)
        found.clear()
        run(loop, lambda: found.extend(callers()))
        assert "run_forever" in found
        assert ("_run_once" in found) == debug
    loop.close()


def test_a_handle_that_is_run_in_another_way(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As programs do which measure callbacks."""
    ran: list[object] = []
    as_it_is = asyncio.Handle._run

    def noted(handle: asyncio.Handle) -> None:
        ran.append(handle)
        as_it_is(handle)

    monkeypatch.setattr(asyncio.Handle, "_run", noted)
    run(loop, int)
    assert len(ran) >= 2


def test_arguments_and_contexts(loop: asyncio.AbstractEventLoop) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    context = contextvars.copy_context()
    context.run(variable.set, 5)
    calls: list[tuple[object, ...]] = []

    def note(*args: int) -> None:
        calls.append((variable.get(), *args))

    for count in range(6):
        loop.call_soon(note, *range(count), context=context if count % 2 else None)
    loop.call_later(0.0001, note, 7)
    loop.call_later(0.0002, loop.stop)
    loop.run_forever()
    assert calls == [(5 * (count % 2), *range(count)) for count in range(6)] + [(0, 7)]


@pytest.mark.parametrize("name", ["call_soon", "call_soon_threadsafe"])
def test_handles(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Whoever made one, it is asyncio's."""
    call: Any = getattr(loop, name)
    context = contextvars.copy_context()
    handle = call(divmod, 7, 2, context=context)
    slots = ("_callback", "_args", "_context", "_loop", "_cancelled", "_repr", "_source_traceback")
    values = [getattr(handle, slot) for slot in slots]
    assert values == [divmod, (7, 2), context, loop, False, None, None]
    assert type(handle) is asyncio.Handle
    assert repr(handle) == repr(asyncio.Handle(divmod, (7, 2), loop))
    assert weakref.ref(handle)() is handle
    assert gc.is_tracked(handle)
    handle.cancel()
    assert handle.cancelled()
    assert handle._callback is None
    assert isinstance(call(int)._context, contextvars.Context)
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.mark.parametrize("name", ["call_soon", "call_soon_threadsafe"])
def test_calls_that_are_refused(loop: asyncio.AbstractEventLoop, name: str) -> None:
    call: Any = getattr(loop, name)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'callback'"):
        call()
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        call(int, other=1)
    assert call(callback=int)._callback is int
    loop.set_debug(True)
    with pytest.raises(TypeError, match="a callable object was expected"):
        call(3)
    assert call(int)._source_traceback
    loop.set_debug(False)
    run(loop, int)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        call(int)


def test_a_loop_that_makes_its_own_handles(backend: str) -> None:
    made: list[object] = []

    class Own(pollster.asyncio.EventLoop):
        def _call_soon(self, callback: Any, *rest: Any) -> Any:
            made.append(callback)
            return super()._call_soon(callback, *rest)

    loop = Own(PollsterSelector(backend=backend))
    loop.call_soon(int)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    loop.close()
    assert made[:2] == [int, loop.stop]


def test_a_callback_that_raises(loop: asyncio.AbstractEventLoop) -> None:
    told: list[dict[str, Any]] = []
    during: list[BaseException | None] = []

    def handler(_: object, context: dict[str, Any]) -> None:
        told.append(context)
        during.append(sys.exception())

    def fail(number: int) -> None:
        raise ArithmeticError(number)

    loop.set_exception_handler(handler)
    handles = [loop.call_soon(fail, number) for number in range(2)]
    run(loop, int)
    assert [context["handle"] for context in told] == handles
    assert [context["exception"].args for context in told] == [(0,), (1,)]
    assert [context["exception"] for context in told] == during
    for context in told:
        assert set(context) == {"message", "exception", "handle"}
        assert context["message"].startswith("Exception in callback ")
        assert "fail(" in context["message"]
        frames, names = context["exception"].__traceback__, []
        while frames is not None:
            names.append(frames.tb_frame.f_code.co_name)
            frames = frames.tb_next
        assert len(names) == 2
        assert names[-1] == "fail"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop(loop: asyncio.AbstractEventLoop, error: type[BaseException]) -> None:
    ran: list[int] = []

    def fail() -> None:
        raise error

    loop.call_soon(ran.append, 1)
    loop.call_soon(fail)
    loop.call_soon(ran.append, 2)
    loop.call_soon(loop.stop)
    with pytest.raises(error):
        loop.run_forever()
    assert ran == [1]
    loop.run_forever()
    assert ran == [1, 2]


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="it collects later")
def test_a_callback_that_raised_leaves_nothing(loop: asyncio.AbstractEventLoop) -> None:
    class Callback:
        def __call__(self) -> None:
            raise ArithmeticError

    loop.set_exception_handler(lambda *_: None)
    callback = Callback()
    gone = weakref.ref(callback)
    run(loop, callback)
    del callback
    gc.collect()
    assert gone() is None


def test_callbacks_that_cancel_add_and_stop(loop: asyncio.AbstractEventLoop) -> None:
    order: list[str] = []

    def first() -> None:
        order.append("first")
        second.cancel()
        loop.call_soon(order.append, "next iteration")
        loop.stop()
        loop.call_soon(loop.stop)

    loop.call_soon(first)
    second = loop.call_soon(order.append, "never")
    loop.call_soon(order.append, "this iteration")
    loop.run_forever()
    assert order == ["first", "this iteration"]
    loop.run_forever()
    assert order == ["first", "this iteration", "next iteration"]


@pytest.mark.parametrize("count", [40, 300])
def test_cancelled_timers_are_dropped(loop: Any, count: int) -> None:
    ran: list[int] = []
    late = [loop.call_later(1000 + number, ran.append, number) for number in range(count)]
    soon = [loop.call_later(0.00001 * number, ran.append, number) for number in range(40)]
    for handle in late[5:] + soon[::2]:
        handle.cancel()
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran == list(range(1, 40, 2))
    # The head's are dropped one by one, all of them where they are many and most.
    kept = [handle for handle in loop._scheduled if handle._cancelled]
    assert len(kept) == (count - 5 if count == 40 else 0)
    assert count == 40 or loop._timer_cancelled_count == 0


def test_timers_of_one_moment_and_a_clock_of_the_programs_own(loop: Any) -> None:
    moment = 1000.0
    ran: list[int] = []
    waited: list[float | None] = []

    def select(timeout: float | None = None) -> list[object]:
        waited.append(timeout)
        return []

    loop.time = lambda: moment
    loop._own_selector.select = select
    try:
        for number in (3, 1, 2):
            loop.call_at(1010.0 + number // 3, ran.append, number)
        loop._run_once()
        assert waited == [pytest.approx(10.0)]
        assert ran == []
        moment = 1010.0
        loop._run_once()
        assert sorted(ran) == [1, 2]
        moment = 1011.0
        loop._run_once()
        assert ran[-1] == 3
        assert waited[1:] == [0, 0]
    finally:
        del loop.time, loop._own_selector.select


def test_an_iteration_within_one(loop: Any) -> None:
    """What patches do that let `run_until_complete` be called by a callback."""
    order: list[str] = []

    def outer() -> None:
        order.append("outer")
        loop._run_once()
        order.append("outer again")

    loop.call_soon(outer)
    loop.call_soon(order.append, "inner")
    with pytest.raises(IndexError):  # the iteration around it finds what it had counted gone
        loop._run_once()
    assert order == ["outer", "inner", "outer again"]


def test_other_readers_and_writers(loop: asyncio.AbstractEventLoop) -> None:
    ours, peer = socket.socketpair()
    found: list[str] = []
    with ours, peer:

        def note(what: str) -> None:
            found.append(what)
            loop.remove_reader(ours) if what == "read" else loop.remove_writer(ours)
            if len(found) == 2:
                loop.stop()

        loop.add_reader(ours, note, "read")
        loop.add_writer(ours, note, "write")
        peer.send(b"x")
        loop.run_forever()
        assert sorted(found) == ["read", "write"]
        # Cancelled by its handle alone: it is removed by the iteration that finds it.
        handle = loop._add_reader(ours.fileno(), note, "never")  # type: ignore[attr-defined]
        handle.cancel()
        timer = loop.call_later(0.001, loop.stop)
        loop.run_forever()
        assert not loop.remove_reader(ours)
        assert not timer.cancelled()
    assert sorted(found) == ["read", "write"]


@pytest.mark.skipif(threading.current_thread() is not threading.main_thread(), reason="signals")
def test_a_signal_that_raises(loop: asyncio.AbstractEventLoop) -> None:
    def handler(*_: object) -> None:
        raise ArithmeticError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(ArithmeticError):
            loop.run_forever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run(loop, int)


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="it collects later")
def test_a_loop_in_a_cycle_is_collected(backend: str) -> None:
    loop: Any = pollster.asyncio.EventLoop(PollsterSelector(backend=backend))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.call_soon(lambda kept=loop: kept)
    loop._own_selector.close()
    gone = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert gone() is None
