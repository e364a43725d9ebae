"""`pollster.asyncio`: what of asyncio it replaces, and what only it does."""

import asyncio
import errno
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

import pollster.asyncio
from pollster import Interest, Poll, Token
from pollster._transport import MISSING_OF_TRANSPORTS
from pollster.selectors import PollsterSelector

T = TypeVar("T")
LIMIT = 120


def run(backend: str, main: Coroutine[Any, Any, T]) -> T:
    def make() -> pollster.asyncio.EventLoop:
        return pollster.asyncio.EventLoop(PollsterSelector(backend=backend))

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(asyncio.wait_for(main, LIMIT))


def the_loop() -> pollster.asyncio.EventLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, pollster.asyncio.EventLoop)
    return loop


def test_what_it_rests_on_in_asyncio_is_there() -> None:
    """On a new Python this says what has changed; the next one, that it works all the same."""
    assert not pollster.asyncio._MISSING
    assert not pollster.asyncio._MISSING_OF_CHILDREN
    assert not pollster.asyncio._MISSING_OF_RUNNING
    assert not pollster.asyncio._MISSING_OF_ADDING
    assert pollster.asyncio._IS_THREADSAFE or sys.version_info >= (3, 14)
    if platform.python_implementation() != "PyPy":
        assert not MISSING_OF_TRANSPORTS
    loop = pollster.asyncio.EventLoop()
    assert [name for name in pollster.asyncio._OF_LOOPS if not hasattr(loop, name)] == []
    loop.close()


def test_asyncio_is_imported_with_it_alone() -> None:
    command = "import sys, pollster, pollster.selectors; sys.exit('asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True, timeout=LIMIT)


# asyncio as it may be one day: a private name is another one, in all of its sources.
RENAMED = """
import importlib.machinery, re, sys
name, times = sys.argv[1], 0
Loader = importlib.machinery.SourceFileLoader
as_it_is = Loader.get_code

def get_code(loader, module):
    global times
    if not module.startswith("asyncio"):
        return as_it_is(loader, module)
    with open(loader.path) as file:
        source, count = re.subn(rf"\\b{name}\\b", name + "_of_old", file.read())
    times += count
    return compile(source, loader.path, "exec", dont_inherit=True)

Loader.get_code = get_code
import asyncio, os, signal
import pollster.asyncio

async def echo(reader, writer):
    writer.write(await reader.read(10))
    writer.close()

async def main():
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    assert isinstance(loop, pollster.asyncio.EventLoop)
    assert await asyncio.to_thread(int, "3") == 3
    loop.add_signal_handler(signal.SIGUSR1, came.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await came.wait()
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    assert await child.communicate(b"abc") == (b"abc", None)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    assert await reader.read() == b"x"
    writer.close()
    server.close()
    await asyncio.sleep(0.001)

pollster.asyncio.run(asyncio.wait_for(main(), 100))
assert times, "it has another name"
"""


NAMES = ["_make_subprocess_transport", "_UnixSubprocessTransport", "_selector", "_ssock", "_csock"]
NAMES += ["_call_soon", "_check_closed", "_closed", "_repr", "_make_socket_transport"]
NAMES += ["_SelectorSocketTransport", "_read_ready__data_received", "_read_ready__on_eof"]
NAMES += ["_read_ready", "_fatal_error", "_sock", "_protocol", "_conn_lost", "_buffer", "_eof"]
NAMES += ["_empty_waiter", "_read_ready_cb", "_ensure_fd_no_transport"]
NAMES += ["_ready", "_timer_cancelled_count", "_context", "_when", "_format_callback_source"]


@pytest.mark.parametrize(
    "name",
    [
        *pollster.asyncio._OF_WAKING,
        *pollster.asyncio._OF_CHILDREN,
        *pollster.asyncio._OF_RUNNING[:2],
        *NAMES,
    ],
)
def test_an_asyncio_that_has_renamed_it(backend: str, name: str) -> None:
    command = [sys.executable, "-W", "error", "-c", RENAMED, name]
    environment = {**os.environ, "POLLSTER_BACKEND": backend}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_echo_by_streams(backend: str) -> None:
    async def main() -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x" * 50_000 + b"\n")
        line = await reader.readline()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        return line

    assert run(backend, main()) == b"x" * 50_000 + b"\n"


def test_other_threads_wake_it(backend: str) -> None:
    async def main() -> int:
        loop, done, count = the_loop(), asyncio.Event(), 0

        def add() -> None:
            nonlocal count
            count += 1
            if count == 4 * 1000:
                done.set()

        def call() -> None:
            for _ in range(1000):
                loop.call_soon_threadsafe(add)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        await done.wait()
        for _ in range(100):  # one at a time: each has to wake it anew
            await loop.run_in_executor(None, add)
        for thread in threads:
            thread.join()
        return count

    assert run(backend, main()) == 4100


def test_a_wake_that_an_exception_lost_does_not_make_it_deaf(backend: str) -> None:
    loop = pollster.asyncio.EventLoop(PollsterSelector(backend=backend))
    loop._woken = True  # as where Ctrl-C comes between select() and the waker's handle
    timer = threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop])
    timer.start()
    loop.run_forever()
    timer.join()
    loop.close()
    loop._write_to_self()  # silent, as asyncio's
    with pytest.raises(RuntimeError, match="closed"):
        loop.call_soon_threadsafe(int)


def test_signals(backend: str) -> None:
    async def main() -> None:
        loop, came = the_loop(), asyncio.Event()
        assert loop._csock is None
        loop.add_signal_handler(signal.SIGUSR1, came.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        await came.wait()
        assert loop.remove_signal_handler(signal.SIGUSR1)

    run(backend, main())


def test_signals_are_the_main_threads(backend: str) -> None:
    async def main() -> None:
        loop = the_loop()
        registered = len(loop._own_selector.get_map())
        with pytest.raises(RuntimeError, match="main thread"):
            await asyncio.to_thread(loop.add_signal_handler, signal.SIGUSR1, int)
        with pytest.raises(ValueError, match="invalid signal"):
            loop.add_signal_handler(1000, int)
        assert loop._csock is None
        assert len(loop._own_selector.get_map()) == registered
        await asyncio.to_thread(int)

    run(backend, main())


def test_a_child_with_three_pipes(backend: str) -> None:
    async def main() -> tuple[bytes, bytes, int | None]:
        code = "import sys; d = sys.stdin.read(); print(d, end=''); sys.exit(d[::-1])"
        pipe = subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=pipe, stdout=pipe, stderr=pipe
        )
        return *(await child.communicate(b"abc")), child.returncode

    assert run(backend, main()) == (b"abc", b"cba\n", 1)


def test_children_take_no_threads_and_no_descriptors(backend: str) -> None:
    async def main() -> None:
        threads = threading.active_count()

        async def child(number: int) -> None:
            child = await asyncio.create_subprocess_exec("/bin/sh", "-c", f"exit {number}")
            assert await child.wait() == number

        await asyncio.gather(*map(child, range(1, 201)))
        assert threading.active_count() == threads
        assert not the_loop()._watched

    run(backend, main())


def test_a_child_that_was_killed(backend: str) -> None:
    async def main() -> int:
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exec sleep 1000")
        child.kill()
        return await child.wait()

    assert run(backend, main()) == -signal.SIGKILL


def test_where_processes_can_not_be_watched_asyncio_does(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(pollster.asyncio, "Process", refuse)

    async def main() -> int:
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 4")
        return await child.wait()

    assert run(backend, main()) == 4


def test_without_a_descriptor_for_a_child_there_is_no_child(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []

    def refuse(pid: int, **_: object) -> None:
        pids.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def main() -> None:
        start = asyncio.create_subprocess_exec
        child = await start("/bin/sh", "-c", "exit 4", stdin=subprocess.PIPE)
        assert await child.wait() == 4
        monkeypatch.setattr(pollster.asyncio, "Process", refuse)
        descriptors = len(os.listdir("/dev/fd"))
        with pytest.raises(OSError, match="Too many open files"):
            await start("/bin/sh", "-c", "exec sleep 1000", stdin=subprocess.PIPE)
        await asyncio.sleep(0)  # its transport closes its pipes
        while len(os.listdir("/dev/fd")) > descriptors:
            await asyncio.sleep(0.001)
        with pytest.raises(ChildProcessError):  # it was killed and waited for
            os.waitpid(pids.pop(), 0)
        # The same before the first child, where it must not be taken for a kernel's no.
        the_loop()._can_watch = None
        with pytest.raises(OSError, match="Too many open files"):
            await start("/bin/sh", "-c", "exit 5")
        assert pids == [os.getpid()]
        monkeypatch.undo()
        assert await (await start("/bin/sh", "-c", "exit 5")).wait() == 5

    run(backend, main())


def test_a_poll_of_the_users_own(backend: str) -> None:
    async def main() -> list[int]:
        ours, peer = socket.socketpair()
        found: asyncio.Future[list[int]] = the_loop().create_future()
        with Poll(backend=backend) as poll, ours, peer:
            poll.registry.register(ours, Token(5), Interest.READABLE)

            def look() -> None:
                tokens = [int(event.token) for event in poll.poll(timeout=0)]
                if tokens and not found.done():
                    found.set_result(tokens)

            the_loop().add_reader(poll.fileno(), look)
            peer.send(b"x")
            tokens = await found
            the_loop().remove_reader(poll.fileno())
        return tokens

    assert run(backend, main()) == [5]


def test_run_refuses_what_asyncio_refuses() -> None:
    async def main() -> str:
        inner = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="running event loop"):
            pollster.asyncio.run(inner)
        inner.close()
        return type(asyncio.get_running_loop()).__name__

    assert pollster.asyncio.run(main()) == "EventLoop"
    with pytest.raises((ValueError, TypeError)):
        pollster.asyncio.run(3)  # type: ignore[arg-type]
