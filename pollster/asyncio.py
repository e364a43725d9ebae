"""asyncio on pollster: its event loop, over a `PollsterSelector`.

It owns what wakes the loop and how it hears of a child's end. All the rest is asyncio's. What it
takes of asyncio that is private stands in `_Base` and in `_transport.py`; where a Python has such a
name no more, asyncio's own way is taken. Nothing else of pollster imports this module, or asyncio.
"""

import asyncio
import contextvars
import errno
import heapq
import os
import socket
import sys
from asyncio import format_helpers, unix_events
from collections.abc import Callable, Coroutine, Sequence
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from pollster._transport import FEEDS_STREAMS, MISSING_OF_TRANSPORTS, SocketTransport
from pollster.backend import _python
from pollster.process import Process
from pollster.selectors import PollsterSelector
from pollster.waker import Waker

__all__ = ["EventLoop", "new_event_loop", "run"]

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

if TYPE_CHECKING:

    class _Base(asyncio.SelectorEventLoop):
        """What of asyncio this rests on besides what is documented, 3.11 to 3.15: methods."""

        def _make_self_pipe(self) -> None: ...
        def _close_self_pipe(self) -> None: ...
        def _write_to_self(self) -> None: ...
        async def _make_subprocess_transport(self, *_: Any, **__: Any) -> Any: ...
        def _run_once(self) -> None: ...
        def _process_events(self, _: Any, /) -> None: ...
        def _call_soon(self, *_: Any) -> Any: ...
        def _make_socket_transport(self, *_: Any, **__: Any) -> Any: ...
        def _ensure_fd_no_transport(self, _: Any, /) -> None: ...

        _ready: Any
        _scheduled: list[Any]
        _timer_cancelled_count: int

else:
    _Base = asyncio.SelectorEventLoop

if TYPE_CHECKING or hasattr(_python, "Looping"):
    _InC = _python.Looping
else:  # PyPy, whose compiler does more for asyncio's own code than C can

    class _InC:
        def _begin(self, *_: object) -> None:
            pass


_OF_WAKING = "_make_self_pipe", "_close_self_pipe", "_write_to_self"
_OF_CHILDREN = "_process_exited", "_wait"
# Of one iteration, in C: methods, what a loop has, what its handles have.
_OF_RUNNING = "_run_once", "_process_events", "_remove_reader", "_remove_writer"
_OF_LOOPS = (
    "_ready",
    "_scheduled",
    "_selector",
    "_stopping",
    "_debug",
    "_closed",
    "_timer_cancelled_count",
    "_clock_resolution",
)
_OF_HANDLES = "_run", "_callback", "_args", "_context", "_cancelled"
_OF_ADDED = *_OF_HANDLES[1:], "_loop", "_repr", "_source_traceback"
_OF_TIMERS = "_when", "_scheduled"
_SubprocessTransport: Any = getattr(unix_events, "_UnixSubprocessTransport", None)
_MISSING = [name for name in _OF_WAKING if not hasattr(_Base, name)]
_MISSING_OF_CHILDREN = [name for name in _OF_CHILDREN if not hasattr(_SubprocessTransport, name)]
_MISSING_OF_RUNNING = [
    name
    for owner, names in (
        (_Base, _OF_RUNNING),
        (asyncio.Handle, _OF_HANDLES),
        (asyncio.TimerHandle, _OF_TIMERS),
        (format_helpers, ("_format_callback_source",)),
    )
    for name in names
    if not hasattr(owner, name)
]


def _names(function: Any) -> Sequence[str]:
    """Returns what a function of asyncio's names."""
    return getattr(getattr(function, "__code__", None), "co_names", ())


_call_soon: Any = getattr(_Base, "_call_soon", None)
_MISSING_OF_ADDING = [
    *(name for name in _OF_ADDED if name not in _names(asyncio.Handle.__init__)),
    *(name for name in ("Handle", "_ready", "append") if name not in _names(_call_soon)),
    *(name for name in ("_call_soon", "_check_closed") if name not in _names(_Base.call_soon)),
]
# Python 3.14 has another handle there.
_IS_THREADSAFE = {"_call_soon", "_write_to_self"} <= set(_names(_Base.call_soon_threadsafe))
# Without the GIL nothing orders the flag below and the queue of callbacks.
_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
_MANY_TIMERS = 100  # asyncio's number, and FEWEST_TO_DROP in looping.c
# A kernel that can't watch processes, or a system that forbids it.
_CAN_NOT_WATCH = errno.ENOSYS, errno.EPERM, errno.EACCES


class EventLoop(_InC, _Base):
    """asyncio's loop over a `PollsterSelector`, with a `Waker` and with `Process` for children.

    It does what asyncio's documentation says of its selector loop. Beyond that, timeouts are as
    fine as the kernel's, children need neither a thread nor SIGCHLD, and a descriptor that was
    closed before `remove_reader()` does not keep the loop awake.

    Parameters: `selector`, one of its own unless given: `PollsterSelector(backend=...)` to choose
    the back end. The loop closes it. Raises what `PollsterSelector` raises.

    >>> import asyncio
    >>> from pollster.asyncio import EventLoop
    >>> with asyncio.Runner(loop_factory=EventLoop) as runner:
    ...     runner.run(asyncio.sleep(0.0001, "slept"))
    'slept'
    """

    _waker: Waker | None = None  # none where asyncio does not ask for one: then it wakes itself
    _asyncios_call_soon = _Base.call_soon
    _asyncios_call_soon_threadsafe = _Base.call_soon_threadsafe
    _woken = False  # from a wake until the loop has seen it
    _has_pipe = False  # asyncio's pair of sockets, which is
    _ssock: object = None
    _csock: object = None
    _internal_fds = 0  # asyncio counts its own descriptors
    _can_watch: bool | None = None  # processes, on this kernel; unknown before the first

    def __init__(self, selector: PollsterSelector | None = None) -> None:
        self._watched: set[Process] = set()
        self._own_selector = PollsterSelector() if selector is None else selector
        super().__init__(self._own_selector)
        run_once: Any = getattr(_Base, "_run_once", None)
        if self._is_plain():
            handles = asyncio.Handle, asyncio.TimerHandle, asyncio.Handle._run
            adds = not _MISSING_OF_ADDING and type(self)._call_soon is _call_soon
            copy = contextvars.copy_context if adds else None
            self._begin(run_once, self._ready, heapq.heappop, *handles, copy, _IS_THREADSAFE)
            if FEEDS_STREAMS:
                self._begin_streams(asyncio.StreamReaderProtocol, asyncio.StreamReader)
        else:
            self._begin(run_once, None)

    def _is_plain(self) -> bool:
        """Says whether iterations can be run in C; otherwise, asyncio's `_run_once()` does."""
        if _MISSING_OF_RUNNING or not all(hasattr(self, name) for name in _OF_LOOPS):
            return False
        return type(self)._process_events is _Base._process_events

    def _drop_cancelled(self) -> None:
        """Drops timers that were cancelled: all where they are most, or those that come next."""
        scheduled = self._scheduled
        count = len(scheduled)
        if count > _MANY_TIMERS and self._timer_cancelled_count > count / 2:
            for handle in scheduled:
                handle._scheduled = not handle._cancelled
            self._scheduled = [handle for handle in scheduled if handle._scheduled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
            return
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False

    def _see_exception(self, handle: Any, error: BaseException) -> None:
        """Tells what a callback raised, as `Handle._run()` does."""
        try:
            raise error
        except BaseException:
            source = format_helpers._format_callback_source(handle._callback, handle._args)
            context = {
                "message": f"Exception in callback {source}",
                "exception": error,
                "handle": handle,
            }
            if handle._source_traceback:
                context["source_traceback"] = handle._source_traceback
            handle._loop.call_exception_handler(context)
        finally:
            del handle, error  # they are a cycle

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
    ) -> Any:
        # A socket of another class may receive and send in its own way.
        if MISSING_OF_TRANSPORTS or self.get_debug() or type(sock) is not socket.socket:
            return super()._make_socket_transport(
                sock, protocol, waiter, extra=extra, server=server
            )
        if sys.version_info >= (3, 12):
            self._ensure_fd_no_transport(sock)
        return SocketTransport(self, sock, protocol, waiter, extra, server)

    def run_forever(self) -> None:
        """Runs until `stop()`."""
        self._woken = False  # an exception may have come between a wake and its handle
        super().run_forever()

    def close(self) -> None:
        """Closes the loop and its selector; children that run go on, and are not waited for."""
        super().close()
        if self.is_closed():
            while self._watched:
                self._watched.pop().close()

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Has a callback called by the loop when a signal comes. Raises what asyncio raises."""
        # Signals' numbers come through asyncio's own pipe, which only they need.
        if self._waker is None or self._has_pipe or self.is_closed():
            super().add_signal_handler(sig, callback, *args)
            return
        super()._make_self_pipe()
        try:
            super().add_signal_handler(sig, callback, *args)
        except BaseException:  # not the main thread, no signal
            super()._close_self_pipe()
            raise
        self._has_pipe = True

    def _make_self_pipe(self) -> None:
        if _MISSING:
            super()._make_self_pipe()
            return
        self._waker = Waker(self._own_selector.registry, 0)
        handle = asyncio.Handle(self._see_wake, (), self)
        self._own_selector.register(self._waker, EVENT_READ, (handle, None))
        self._internal_fds += 1

    def _close_self_pipe(self) -> None:
        if self._waker is not None:
            self._waker.close()
            self._internal_fds -= 1
        if self._waker is None or self._has_pipe:
            super()._close_self_pipe()

    def _write_to_self(self) -> None:
        if self._waker is None:
            super()._write_to_self()
            return
        if self._woken:
            return  # what was queued before this is found after `_see_wake()`
        self._woken = _HAS_GIL
        try:
            self._waker.wake()
        except (OSError, RuntimeError, ValueError):
            self._woken = False  # closed meanwhile, or a forked parent's: as silent as asyncio's
        except BaseException:  # a signal's handler
            self._woken = False
            raise

    def _see_wake(self) -> None:
        self._woken = False

    async def _make_subprocess_transport(
        self, protocol: Any, args: Any, shell: bool, *pipes: Any, extra: Any = None, **kwargs: Any
    ) -> Any:
        if _MISSING_OF_CHILDREN or not self._can_watch_processes():
            return await super()._make_subprocess_transport(
                protocol, args, shell, *pipes, extra=extra, **kwargs
            )
        waiter = self.create_future()
        transport = _SubprocessTransport(
            self, protocol, args, shell, *pipes, waiter=waiter, extra=extra, **kwargs
        )
        try:
            self._watch(transport)
        except BaseException:  # no descriptor is left: it would never be heard of again
            transport.close()
            self._end(transport, transport.get_pid())
            raise
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _can_watch_processes(self) -> bool:
        """Asks the kernel before there is a child that could be lost."""
        if self._can_watch is None:
            try:
                Process(os.getpid(), backend=self._own_selector._poll.backend).close()
            except OSError as error:
                if error.errno not in _CAN_NOT_WATCH:
                    raise
                self._can_watch = False
            else:
                self._can_watch = True
        return self._can_watch

    def _watch(self, transport: Any) -> None:
        process = Process(transport.get_pid(), backend=self._own_selector._poll.backend)
        try:
            handle = asyncio.Handle(self._see_end, (process, transport), self)
            self._own_selector.register(process, EVENT_READ, (handle, None))
        except BaseException:
            process.close()
            raise
        self._watched.add(process)

    def _see_end(self, process: Process, transport: Any) -> None:
        self._own_selector.unregister(process)
        self._watched.discard(process)
        process.close()
        self._end(transport, process.pid)

    def _end(self, transport: Any, pid: int) -> None:
        """Reaps a child, and tells its transport one iteration later, as asyncio does."""
        popen = transport.get_extra_info("subprocess")
        try:
            returncode = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # `Popen` reaps in `send_signal()`, others may anywhere
            returncode = 255 if popen.returncode is None else popen.returncode
        self.call_soon(transport._process_exited, returncode)


def new_event_loop() -> EventLoop:
    """Returns a new `EventLoop`, for all that takes a factory of loops.

    >>> import asyncio
    >>> from pollster.asyncio import new_event_loop
    >>> with asyncio.Runner(loop_factory=new_event_loop) as runner:
    ...     runner.run(asyncio.sleep(0, "done"))
    'done'
    """
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Runs a coroutine on a new `EventLoop` and returns what it does, as `asyncio.run()`.

    Parameters: `debug`, asyncio's debug mode; None leaves it to Python's settings.
    Raises `RuntimeError` where a loop runs in this thread already, `ValueError` for what is no
    coroutine.

    >>> import asyncio, pollster.asyncio
    >>> pollster.asyncio.run(asyncio.sleep(0, "done"))
    'done'
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("pollster.asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
