"""Loops: what asyncio's programs do besides echo, on pollster's loop and on others."""

import asyncio
import os
import resource
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

from benchmarks.children import child, end_in_order, module, only_so_long
from benchmarks.contenders import NewEventLoop, with_ours
from benchmarks.driver import Key, Plan, Round, Sample, interleave
from benchmarks.wake import callbacks, run

BURST = 500
CHILDREN = 100
MESSAGE = 1 << 20
ORDER = struct.Struct("<?I")  # whether to send or receive; how many messages


def measure(plan: Plan) -> list[Sample]:
    """Measures event loops: wakes, a burst of them, short sleeps, 1 MiB messages, children."""
    loops = with_ours()
    samples = on_one_processor("loop-wake", loops, callbacks, plan)
    samples += on_one_processor("loop-burst", loops, burst, plan)
    fewer = replace(plan, rounds=max(1, plan.rounds // 4))
    sleeps: dict[Key, Round] = {("loop-sleep", name): sleep(new) for name, new in loops.items()}
    samples += interleave(sleeps, fewer, loops=20)
    samples += bulk(fewer, loops)
    started: dict[Key, Round] = {("loop-children", n): children(new) for n, new in loops.items()}
    return samples + interleave(started, fewer, loops=1)


def on_one_processor(
    row: str, loops: dict[str, NewEventLoop], make: Callable[[NewEventLoop], Round], plan: Plan
) -> list[Sample]:
    """Measures rounds of two threads that share a processor."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    try:
        rounds: dict[Key, Round] = {(row, name): make(new) for name, new in loops.items()}
        return interleave(rounds, plan)
    finally:
        os.sched_setaffinity(0, processors)


def burst(new_event_loop: NewEventLoop) -> Round:
    """Returns rounds of callbacks that another thread hands over all at once; CPU time of both."""

    def measured(loops: int) -> int:
        loop, done = new_event_loop(), threading.Event()
        thread = threading.Thread(target=run, args=(loop,), daemon=True)
        thread.start()
        begin = time.process_time_ns()
        for _ in range(loops):
            done.clear()
            for _ in range(BURST):
                loop.call_soon_threadsafe(int)
            loop.call_soon_threadsafe(done.set)
            done.wait()
        elapsed = time.process_time_ns() - begin
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        return elapsed

    return measured


def sleep(new_event_loop: NewEventLoop) -> Round:
    """Returns rounds of `asyncio.sleep(0.0001)`, by the clock on the wall."""
    loop = new_event_loop()

    async def main(loops: int) -> int:
        begin = time.perf_counter_ns()
        for _ in range(loops):
            await asyncio.sleep(0.0001)
        return time.perf_counter_ns() - begin

    return lambda loops: loop.run_until_complete(main(loops))


def used() -> int:
    """Returns the nanoseconds of CPU time of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return int(1e9 * sum(usage.ru_utime + usage.ru_stime for usage in usages))


def children(new_event_loop: NewEventLoop) -> Round:
    """Returns rounds of children that are started at once and awaited; CPU time, theirs included.

    On the wall, who has a thread for each child gets more of a busy machine than who has one.
    """
    loop = new_event_loop()

    async def one() -> None:
        await (await asyncio.create_subprocess_exec("/bin/true")).wait()

    async def main(loops: int) -> int:
        begin = used()
        for _ in range(loops):
            await asyncio.gather(*(one() for _ in range(CHILDREN)))
        return used() - begin

    def measured(loops: int) -> int:
        asyncio.set_event_loop(loop)  # where 3.11 looks for the watcher of children
        return loop.run_until_complete(main(loops))

    return measured


class Bulk(asyncio.Protocol):
    """Receives and sends messages of 1 MiB, as its peer does on demand."""

    def __init__(self, connected: "asyncio.Future[Bulk]") -> None:
        self.connected = connected
        self.missing = 0
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.connected.set_result(self)

    def data_received(self, data: bytes) -> None:
        """Counts what came."""
        self.missing -= len(data)
        if self.missing <= 0:
            self.complete.set_result(None)

    def pause_writing(self) -> None:
        """Lets the sender wait."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Lets the sender go on."""
        self.writable.set()

    async def receive(self, count: int) -> None:
        """Asks for messages and waits until they are there."""
        self.transport.write(ORDER.pack(True, count))
        await self.all_of(count * MESSAGE)

    async def send(self, count: int) -> None:
        """Sends messages and waits until the peer has them all."""
        self.transport.write(ORDER.pack(False, count))
        message = bytes(MESSAGE)
        for _ in range(count):
            self.transport.write(message)
            await self.writable.wait()
        await self.all_of(1)

    async def all_of(self, size: int) -> None:
        """Waits for so many bytes."""
        self.missing += size
        if self.missing > 0:
            self.complete = asyncio.get_running_loop().create_future()
            await self.complete


def bulk(plan: Plan, loops: dict[str, NewEventLoop]) -> list[Sample]:
    """Measures the CPU time of a message that is received, and of one that is sent."""
    samples: list[Sample] = []
    processors = os.sched_getaffinity(0)
    for row, how in (("loop-receive", Bulk.receive), ("loop-send", Bulk.send)):
        with ExitStack() as stack:
            rounds: dict[Key, Round] = {}
            for name, new in loops.items():
                listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                port = listener.getsockname()[1]
                peer = stack.enter_context(child(module("loops", port)))
                os.sched_setaffinity(peer.pid, {max(processors)})
                rounds[row, name] = messages(new(), listener, how)
            os.sched_setaffinity(0, {min(processors)})
            try:
                samples += interleave(rounds, plan, loops=20)
            finally:
                os.sched_setaffinity(0, processors)
    return samples


def messages(
    loop: asyncio.AbstractEventLoop,
    listener: socket.socket,
    how: Callable[[Bulk, int], Coroutine[Any, Any, None]],
) -> Round:
    """Returns rounds of messages over the connection that comes."""

    async def connected() -> Bulk:
        connected: asyncio.Future[Bulk] = loop.create_future()
        await loop.create_server(lambda: Bulk(connected), sock=listener)
        return await connected

    protocol = loop.run_until_complete(connected())

    def measured(loops: int) -> int:
        begin = time.thread_time_ns()
        loop.run_until_complete(how(protocol, loops))
        return time.thread_time_ns() - begin

    return measured


def peer(port: int) -> None:
    """Sends and receives what it is asked to, until the other side is gone."""
    message = memoryview(bytearray(MESSAGE))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while order := connection.recv(ORDER.size, socket.MSG_WAITALL):
            wanted, count = ORDER.unpack(order)
            for _ in range(count):
                if wanted:
                    connection.sendall(message)
                elif not receive_all(connection, message):
                    return
            if not wanted:
                connection.send(b"!")


def receive_all(connection: socket.socket, room: memoryview) -> bool:
    """Fills the room; says whether it could."""
    done = 0
    while done < len(room):
        count = connection.recv_into(room[done:])
        if not count:
            return False
        done += count
    return True


if __name__ == "__main__":
    end_in_order()
    only_so_long()
    peer(int(sys.argv[1]))
