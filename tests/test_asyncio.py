"""`pollster.asyncio`: what of asyncio it replaces, and what only it does."""

import asyncio
import os
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
    """On a new Python this says what has changed; the tests below, that it works all the same."""
    base: object = asyncio.SelectorEventLoop
    for name in ("_make_self_pipe", "_close_self_pipe", "_write_to_self"):
        assert hasattr(base, name), name
    assert hasattr(base, "_make_subprocess_transport")
    assert pollster.asyncio._SubprocessTransport is not None


def test_asyncio_is_imported_with_it_alone() -> None:
    command = "import sys, pollster, pollster.selectors; sys.exit('asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True, timeout=LIMIT)


def test_an_asyncio_without_the_names_does_it_itself(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = asyncio.SelectorEventLoop
    monkeypatch.setattr(pollster.asyncio, "_SubprocessTransport", None)
    for name in ("_make_self_pipe", "_close_self_pipe"):
        monkeypatch.setattr(pollster.asyncio.EventLoop, name, getattr(base, name))

    async def main() -> int:
        assert the_loop()._waker is None
        assert await asyncio.to_thread(int, "3") == 3
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
        return await child.wait()

    assert run(backend, main()) == 3


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
        raise PermissionError("forbidden")

    monkeypatch.setattr(pollster.asyncio, "Process", refuse)

    async def main() -> int:
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 4")
        return await child.wait()

    assert run(backend, main()) == 4


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
