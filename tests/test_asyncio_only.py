"""`pollster.asyncio`: what asyncio's own loop does not do."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time

import pytest
from children import in_child
from test_asyncio import run


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kqueue forgets what is closed")
def test_what_was_closed_too_early_burns_no_cpu(backend: str) -> None:
    """The copy keeps the kernel reporting: asyncio's own loop wakes for it again and again."""

    async def main() -> float:
        reader, writer = os.pipe()
        copy = os.dup(writer)
        loop = asyncio.get_running_loop()
        loop.add_writer(writer, int)
        os.close(writer)
        loop.remove_writer(writer)
        began = time.process_time()
        await asyncio.sleep(0.5)
        os.close(reader)
        os.close(copy)
        return time.process_time() - began

    assert run(backend, main()) < 0.25


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


def test_a_sleep_is_not_rounded_to_milliseconds(backend: str) -> None:
    async def main() -> float:
        shortest = 1.0
        for _ in range(1000):
            began = time.monotonic()
            await asyncio.sleep(0.0001)
            shortest = min(shortest, time.monotonic() - began)
            if shortest < 0.001:
                break
        return shortest

    assert 0.0001 <= run(backend, main()) < 0.001


def test_children_take_neither_a_thread_nor_sigchld(backend: str) -> None:
    async def main() -> None:
        threads, handler = threading.active_count(), signal.getsignal(signal.SIGCHLD)
        child = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
        assert threading.active_count() == threads
        assert signal.getsignal(signal.SIGCHLD) == handler
        await child.communicate(b"")
        assert child.returncode == 0

    run(backend, main())
