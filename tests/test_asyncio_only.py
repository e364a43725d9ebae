"""`pollster.asyncio`: what asyncio's own loop does not do."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

import pytest
from children import in_child
from test_asyncio import run


def count_polls() -> list[float | None]:
    """Returns a list that gets the timeout of each poll of the running loop."""
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select = selector.select
    timeouts: list[float | None] = []

    def counted(timeout: float | None = None) -> object:
        timeouts.append(timeout)
        return select(timeout)

    selector.select = counted
    return timeouts


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kqueue forgets what is closed")
def test_what_was_closed_too_early_wakes_nobody(backend: str) -> None:
    """The copy keeps the kernel reporting: asyncio's own loop wakes for it again and again."""

    async def main() -> int:
        reader, writer = os.pipe()
        copy = os.dup(writer)
        loop = asyncio.get_running_loop()
        loop.add_writer(writer, int)
        os.close(writer)
        loop.remove_writer(writer)
        timeouts = count_polls()
        await asyncio.sleep(0.1)
        os.close(reader)
        os.close(copy)
        return len(timeouts)

    assert run(backend, main()) < 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork(2)")
def test_a_forked_child_does_not_make_its_parent_deaf(backend: str) -> None:
    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        with ours, peer:
            ours.setblocking(False)
            came: asyncio.Future[bytes] = loop.create_future()
            loop.add_reader(ours, lambda: came.done() or came.set_result(ours.recv(10)))
            in_child(lambda: loop.remove_reader(ours))
            peer.send(b"x")
            data = await came
            loop.remove_reader(ours)
        return data

    assert run(backend, main()) == b"x"


def test_a_sleep_is_a_poll_with_its_own_time(backend: str) -> None:
    """Neither rounded, nor as fine as that because it is waited for by turning in circles."""

    async def main() -> list[float | None]:
        timeouts = count_polls()
        for _ in range(100):
            began = time.monotonic()
            await asyncio.sleep(0.0001)
            assert time.monotonic() - began >= 0.0001 - time.get_clock_info("monotonic").resolution
        return timeouts

    timeouts = run(backend, main())
    waits = [timeout for timeout in timeouts if timeout]
    assert len(timeouts) <= 3 * 100
    assert all(timeout <= 0.0001 for timeout in waits)


def test_children_take_neither_a_thread_nor_sigchld(backend: str) -> None:
    async def main() -> None:
        threads, handler = threading.active_count(), signal.getsignal(signal.SIGCHLD)
        child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        assert threading.active_count() == threads
        assert signal.getsignal(signal.SIGCHLD) == handler
        await child.communicate(b"")
        assert child.returncode == 0

    run(backend, main())
