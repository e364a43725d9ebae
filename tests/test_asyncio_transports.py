"""Transports of stream sockets: in C or asyncio's own, a program can't tell which.

Each program runs on asyncio's loop, too, and what it saw must be equal.
"""

import asyncio
import contextlib
import contextvars
import gc
import os
import platform
import select
import selectors
import socket
import struct
import tempfile
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import pollster.asyncio
from pollster._transport import SocketTransport
from pollster.selectors import PollsterSelector

LIMIT = 120
Trace = list[Any]
Program = Callable[[Trace], Coroutine[Any, Any, object]]


def trace(factory: Callable[[], asyncio.AbstractEventLoop], program: Program) -> Trace:
    seen: Trace = []

    def told(_: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        seen.append(("told", sorted(context), context["message"], repr(error), frames(error)))

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.get_loop().set_exception_handler(told)
        try:
            runner.run(asyncio.wait_for(program(seen), LIMIT))
        except (SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:
            seen.append(("left", repr(error)))
    return seen


def frames(error: BaseException | None) -> list[str]:
    """Returns the names of the functions of this file that an exception came through."""
    names, found = [], error.__traceback__ if error else None
    while found is not None:
        if found.tb_frame.f_code.co_filename == __file__:
            names.append(found.tb_frame.f_code.co_name)
        found = found.tb_next
    return names


def check(backend: str, program: Program) -> Trace:
    """Runs a program on both loops; returns what it saw."""
    ours = trace(lambda: pollster.asyncio.EventLoop(PollsterSelector(backend=backend)), program)
    theirs = trace(lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()), program)
    assert ours == theirs
    return ours


class Noting(asyncio.Protocol):
    """Notes all that it is told, and does something when it is told data."""

    def __init__(self, seen: Trace, act: Callable[["Noting", bytes], object] = lambda *_: None):
        self.seen, self.act = seen, act
        self.lost = asyncio.Event()
        self.size = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.seen.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.size += len(data)
        if len(data) < 100:
            self.seen.append(data)
        self.act(self, data)

    def eof_received(self) -> bool | None:
        self.seen.append("eof")
        return None

    def pause_writing(self) -> None:
        self.seen.append("pause")

    def resume_writing(self) -> None:
        self.seen.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.seen.append(("lost", repr(error), frames(error)))
        self.lost.set()


async def connect(protocol: asyncio.BaseProtocol) -> tuple[Any, socket.socket]:
    """Returns a transport, and the other end of its connection, which blocks."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, ours)
    return transport, peer


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.0005)


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="PyPy runs none of it")
def test_it_is_in_c_but_in_debug_mode(backend: str) -> None:
    async def program() -> bool:
        transport, peer = await connect(asyncio.Protocol())
        peer.close()
        transport.close()
        await asyncio.sleep(0)
        return isinstance(transport, SocketTransport)

    for debug in (False, True):
        loop = pollster.asyncio.EventLoop(PollsterSelector(backend=backend))
        loop.set_debug(debug)
        assert loop.run_until_complete(program()) == (not debug)
        loop.close()


def test_messages_of_all_sizes(backend: str) -> None:
    async def program(seen: Trace) -> None:
        got: list[bytes] = []
        protocol = Noting(seen, lambda protocol, data: got.append(data))
        transport, peer = await connect(protocol)
        sent = b""
        for size in (1, 64, 1 << 10, (1 << 16) - 1, 1 << 16, 1 << 18, 3 << 20, 5, 1 << 17, 7):
            message = os.urandom(size)
            sent += message
            await asyncio.to_thread(peer.sendall, message)
            await until(lambda: protocol.size == len(sent))  # noqa: B023
        assert b"".join(got) == sent
        seen.clear()  # how many pieces there were is chance
        peer.close()
        await protocol.lost.wait()
        assert transport.is_closing()

    assert check(backend, program) == ["eof", ("lost", "None", [])]


@pytest.mark.parametrize("keep", [True, False, None])
def test_the_end_of_what_comes(backend: str, keep: bool | None) -> None:
    class Keeping(Noting):
        def eof_received(self) -> bool | None:
            self.seen.append("eof")
            return keep

    async def program(seen: Trace) -> None:
        protocol = Keeping(seen)
        transport, peer = await connect(protocol)
        peer.sendall(b"data")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in seen)
        transport.write(b"answer")
        seen.append(transport.is_closing())
        transport.close()
        transport.write(b"late")
        await protocol.lost.wait()
        seen.append(peer.recv(100))
        peer.close()

    assert b"data" in check(backend, program)


def test_an_eof_received_that_raises(backend: str) -> None:
    class Failing(Noting):
        def eof_received(self) -> None:
            raise ArithmeticError("eof")

    async def program(seen: Trace) -> None:
        protocol = Failing(seen)
        _, peer = await connect(protocol)
        peer.close()
        await protocol.lost.wait()

    check(backend, program)


class Odd(BaseException):
    """No Exception, and still not one that ends a loop."""


@pytest.mark.parametrize("error", [ArithmeticError, OSError, BlockingIOError, Odd])
def test_a_data_received_that_raises(backend: str, error: type[BaseException]) -> None:
    def fail(*_: object) -> None:
        def inner() -> None:
            raise error("why")

        inner()

    async def program(seen: Trace) -> None:
        protocol = Noting(seen, fail)
        transport, peer = await connect(protocol)
        peer.sendall(b"data")
        await protocol.lost.wait()
        seen.append(transport.is_closing())
        seen.append(peer.recv(1))
        peer.close()

    seen = check(backend, program)
    assert any("inner" in entry[-1] for entry in seen if isinstance(entry, tuple) and entry[-1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_data_received_that_ends_the_loop(backend: str, error: type[BaseException]) -> None:
    def seen_by(factory: Callable[[], asyncio.AbstractEventLoop]) -> Trace:
        seen: Trace = []

        def fail(*_: object) -> None:
            raise error("end")

        loop = factory()
        transport, peer = loop.run_until_complete(connect(Noting(seen, fail)))
        peer.sendall(b"data")
        with pytest.raises(error) as raised:
            loop.run_until_complete(asyncio.sleep(LIMIT))
        seen.append(raised.value.args)
        seen.append(transport.is_closing())  # it is still in use
        peer.sendall(b"more")
        with pytest.raises(error):
            loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        peer.close()
        return seen

    ours = seen_by(lambda: pollster.asyncio.EventLoop(PollsterSelector(backend=backend)))
    assert ours == seen_by(lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()))
    assert b"more" in ours


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_reset(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        reset(peer)
        await protocol.lost.wait()
        for _ in range(7):  # asyncio warns from the fifth on
            transport.write(b"late")
        seen.append(transport._conn_lost)

    seen = check(backend, program)
    assert seen[1][:2] == ("lost", repr(ConnectionResetError(104, "Connection reset by peer")))


def test_a_write_after_a_reset(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        transport.pause_reading()
        reset(peer)
        for _ in range(7):
            transport.write(b"late")
        seen.append(transport.is_closing())
        await protocol.lost.wait()

    seen = check(backend, program)
    assert "Error" in seen[-1][1]


def test_pauses_within_data_received(backend: str) -> None:
    def pause(protocol: Noting, _: bytes) -> None:
        protocol.transport.pause_reading()
        protocol.seen.append(protocol.transport.is_reading())

    async def program(seen: Trace) -> None:
        protocol = Noting(seen, pause)
        transport, peer = await connect(protocol)
        peer.sendall(b"one")
        await until(lambda: b"one" in seen)
        for message in (b"two", b"three"):
            peer.sendall(message)
            assert select.select([transport.get_extra_info("socket")], [], [], LIMIT)[0]
            await asyncio.sleep(0)  # an iteration finds it there, if it looks
            await asyncio.sleep(0)
            seen.append("resumed")
            transport.resume_reading()
            await until(lambda: message in seen)  # noqa: B023
        peer.close()
        transport.resume_reading()
        await protocol.lost.wait()

    check(backend, program)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_transport_that_is_closed_within_data_received(backend: str, how: str) -> None:
    def close(protocol: Noting, _: bytes) -> None:
        protocol.transport.write(b"bye")
        getattr(protocol.transport, how)()
        protocol.transport.write(b"late")
        protocol.seen.append(protocol.transport.is_closing())

    async def program(seen: Trace) -> None:
        protocol = Noting(seen, close)
        _, peer = await connect(protocol)
        peer.sendall(b"data")
        await protocol.lost.wait()
        seen.append(peer.recv(100))
        peer.close()

    assert b"bye" in check(backend, program)


def test_a_loop_that_is_stopped_and_closed_within_data_received(backend: str) -> None:
    def stop(protocol: Noting, _: bytes) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(RuntimeError, match="running"):
            loop.close()
        loop.stop()

    def seen_by(loop: asyncio.AbstractEventLoop) -> Trace:
        seen: Trace = []
        transport, peer = loop.run_until_complete(connect(Noting(seen, stop)))
        peer.sendall(b"data")
        loop.run_forever()
        seen.append("stopped")
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        peer.close()
        return seen

    ours = seen_by(pollster.asyncio.EventLoop(PollsterSelector(backend=backend)))
    assert ours == seen_by(asyncio.SelectorEventLoop(selectors.SelectSelector()))


def test_flow_control(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        message = os.urandom(20 << 20)
        transport.set_write_buffer_limits(high=100_000, low=10_000)
        transport.write(message[:10])
        seen.append(transport.get_write_buffer_size())
        transport.write(message[10 : 15 << 20])
        seen.append(transport.get_write_buffer_size() > 100_000)
        transport.write(message[15 << 20 :])
        transport.write_eof()
        with pytest.raises(RuntimeError) as raised:
            transport.write(b"late")
        seen.append(str(raised.value))

        def read_all() -> bytes:
            got = b""
            while piece := peer.recv(1 << 20):
                got += piece
            return got

        assert await asyncio.to_thread(read_all) == message
        seen.append(transport.get_write_buffer_size())
        transport.close()
        await protocol.lost.wait()
        peer.close()

    assert check(backend, program)[1:4] == [0, "pause", True]


def test_what_can_be_written(backend: str) -> None:
    class Bytes(bytes):
        pass

    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        for data in (b"a", bytearray(b"b"), memoryview(b"c"), Bytes(b"d"), b"", bytearray()):
            seen.append(transport.write(data))
        transport.write(memoryview(b"e-f-")[::2].tobytes())
        bad: list[Any] = ["text", None, 3, [b"x"]]
        for wrong in bad:
            with pytest.raises(TypeError) as raised:
                transport.write(wrong)
            seen.append(str(raised.value))
        for arguments, names in (((), {}), ((b"x", b"y"), {}), ((b"x",), {"more": 1})):
            with pytest.raises(TypeError) as raised:
                transport.write(*arguments, **names)
            seen.append(str(raised.value))
        transport.write(data=b"g")
        transport.writelines([b"h", b"i"])
        seen.append(peer.recv(100, socket.MSG_WAITALL) if transport.close() else None)
        await protocol.lost.wait()
        seen.append(peer.recv(100))
        peer.close()

    assert check(backend, program)[-1] == b"abcdefghi"


def test_a_bytearray_that_changes_after_it_was_written(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        data = bytearray(b"abc")
        transport.write(data)
        data[:] = b"xyz1"
        seen.append(peer.recv(100))
        transport.close()
        await protocol.lost.wait()
        peer.close()

    assert b"abc" in check(backend, program)


def test_a_protocol_that_is_changed_within_data_received(backend: str) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self, before: Noting) -> None:
            self.before, self.room = before, bytearray(10)

        def get_buffer(self, _: int) -> bytearray:
            return self.room

        def buffer_updated(self, count: int) -> None:
            self.before.seen.append((count, bytes(self.room[:count])))
            self.before.transport.set_protocol(self.before)

        def connection_lost(self, _: object) -> None:
            self.before.lost.set()

    def change(protocol: Noting, _: bytes) -> None:
        protocol.transport.set_protocol(Buffered(protocol))

    async def program(seen: Trace) -> None:
        protocol = Noting(seen, change)
        transport, peer = await connect(protocol)
        for message in (b"one", b"two", b"three", b"four"):
            before = len(seen)
            peer.sendall(message)
            await until(lambda: len(seen) > before)  # noqa: B023
        transport.abort()
        await protocol.lost.wait()
        peer.close()

    assert check(backend, program)[1:5] == [b"one", (3, b"two"), b"three", (4, b"four")]


def test_contexts(backend: str) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    def note(protocol: Noting, _: bytes) -> None:
        protocol.seen.append(variable.get())
        variable.set("receiving")
        asyncio.get_running_loop().call_soon(lambda: protocol.seen.append(variable.get()))

    class Leaving(Noting):
        def connection_lost(self, error: Exception | None) -> None:
            self.seen.append(variable.get())
            super().connection_lost(error)

    async def program(seen: Trace) -> None:
        variable.set("connecting")
        protocol = Leaving(seen, note)
        _, peer = await connect(protocol)
        variable.set("later")
        for message in (b"one", b"two"):
            peer.sendall(message)
            await until(lambda: message in seen)  # noqa: B023
            await asyncio.sleep(0)
        peer.close()
        await protocol.lost.wait()

    assert check(backend, program).count("receiving") == 4


def test_a_socket_that_was_closed_behind_it(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        transport.pause_reading()
        transport._sock.close()
        with tempfile.TemporaryFile() as file:  # has its number now
            transport.write(b"not for the file")
            assert file.seek(0, os.SEEK_END) == 0
        seen.append(transport.is_closing())
        await protocol.lost.wait()
        peer.close()

    assert "Bad file descriptor" in check(backend, program)[-1][1]


def test_a_socket_of_another_class(backend: str) -> None:
    class Loud(socket.socket):
        def recv(self, *arguments: Any) -> bytes:
            return super().recv(*arguments).upper()

    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        ours, peer = socket.socketpair()
        loud = Loud(ours.family, ours.type, ours.proto, ours.detach())
        loud.setblocking(False)
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=loud)
        peer.sendall(b"data")
        await until(lambda: b"DATA" in seen)
        peer.close()
        await protocol.lost.wait()

    check(backend, program)


def test_a_write_while_a_file_is_sent(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        with tempfile.TemporaryFile() as file:
            file.write(bytes(20 << 20))
            sending = asyncio.ensure_future(asyncio.get_running_loop().sendfile(transport, file))
            await until(lambda: transport._empty_waiter is not None)
            with contextlib.suppress(AttributeError), pytest.raises(RuntimeError) as raised:
                transport.write(b"x")
            seen.append(str(raised.value))

            def read_all() -> int:
                count = 0
                while count < 20 << 20:
                    count += len(peer.recv(1 << 20))
                return count

            seen.append(await asyncio.to_thread(read_all))
            seen.append(await sending)
        transport.write(b"after")
        seen.append(peer.recv(100))
        transport.close()
        await protocol.lost.wait()
        peer.close()

    assert "sendfile is in progress" in check(backend, program)[1]


@pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="it collects later")
def test_nothing_of_a_lost_connection_stays(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        peer.sendall(b"data")
        await until(lambda: b"data" in seen)
        peer.close()
        await protocol.lost.wait()
        gone = [weakref.ref(protocol), weakref.ref(transport)]
        protocol.__dict__.clear()
        del protocol
        await asyncio.sleep(0)
        seen.append(gone[0]() is None)  # while the transport is there
        del transport
        gc.collect()
        seen.append(gone[1]() is None)

    assert check(backend, program)[-2:] == [True, True]


def test_other_threads_run_while_it_receives_and_sends(backend: str) -> None:
    """Both ends are in one process: neither may hold the interpreter while it waits."""

    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)

        def echo() -> None:
            while data := peer.recv(1 << 16):
                peer.sendall(data)

        echoing = asyncio.create_task(asyncio.to_thread(echo))
        for _ in range(100):
            before = protocol.size
            transport.write(bytes(1 << 12))
            await until(lambda: protocol.size == before + (1 << 12))  # noqa: B023
        transport.close()
        await echoing
        await protocol.lost.wait()
        peer.close()
        seen.clear()

    check(backend, program)


def test_its_name_is_asyncios(backend: str) -> None:
    async def program(seen: Trace) -> None:
        transport, peer = await connect(asyncio.Protocol())
        seen.append(repr(transport).split()[0])
        seen.append(type(transport).__name__)
        transport.close()
        await asyncio.sleep(0)
        seen.append(repr(transport).split()[:2])
        peer.close()

    assert check(backend, program)[0] == "<_SelectorSocketTransport"


def test_a_queue_of_small_writes_to_a_full_socket(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = Noting(seen)
        transport, peer = await connect(protocol)
        transport.set_write_buffer_limits(high=1 << 30)  # whether it pauses is chance
        sent = b""
        while not transport.get_write_buffer_size():
            transport.write(message := os.urandom(1 << 16))
            sent += message
        for _ in range(100):
            transport.write(message := os.urandom(100))
            sent += message
        transport.write_eof()

        def read_all() -> bytes:
            got = b""
            while piece := peer.recv(1 << 20):
                got += piece
            return got

        assert await asyncio.to_thread(read_all) == sent
        transport.close()
        await protocol.lost.wait()
        peer.close()

    check(backend, program)


def test_streams(backend: str) -> None:
    """Readers are fed in C: lines, limits, pauses, the end, and one who does not wait any more."""

    async def program(seen: Trace) -> None:
        reader = asyncio.StreamReader(limit=100)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, peer = await connect(protocol)
        assert reader._transport is transport  # type: ignore[attr-defined]
        peer.sendall(b"one\ntwo\nthr")
        seen.append([await reader.readline() for _ in range(2)])
        peer.sendall(b"ee\n")
        seen.append(await reader.readuntil(b"\n"))
        waiting = asyncio.ensure_future(reader.readexactly(10))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        peer.sendall(b"after a reader was cancelled\n")
        seen.append(await reader.readline())
        peer.sendall(b"x" * 300 + b"\n")
        await until(lambda: not transport.is_reading())
        seen.append(len(reader._buffer))  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="chunk is longer than limit"):
            await reader.readline()
        seen.append(transport.is_reading())
        peer.sendall(os.urandom(50))
        seen.append(len(await reader.readexactly(50)))
        peer.sendall(b"last")
        peer.close()
        seen.append(await reader.read())
        seen.append(reader.at_eof())
        transport.close()
        await protocol._get_close_waiter(None)  # type: ignore[attr-defined]

    assert check(backend, program)[-2:] == [b"last", True]


def test_a_stream_whose_buffer_is_looked_at(backend: str) -> None:
    """It can't grow then: asyncio closes the connection."""

    async def program(seen: Trace) -> None:
        reader = asyncio.StreamReader()
        transport, peer = await connect(asyncio.StreamReaderProtocol(reader))
        peer.sendall(b"one")
        seen.append(await reader.readexactly(2))
        view = memoryview(reader._buffer)  # type: ignore[attr-defined]
        peer.sendall(b"two")
        with pytest.raises(BufferError) as raised:
            await reader.readexactly(10)
        seen.append(repr(raised.value))
        seen.append(transport.is_closing())
        view.release()
        peer.close()

    check(backend, program)


def test_a_stream_whose_reader_is_gone(backend: str) -> None:
    async def program(seen: Trace) -> None:
        protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
        gc.collect()
        ended = asyncio.Event()
        eof_received = protocol.eof_received

        def note_end() -> bool:
            ended.set()
            return eof_received()

        protocol.eof_received = note_end
        transport, peer = await connect(protocol)
        peer.sendall(b"nobody reads it")
        peer.close()
        await ended.wait()
        seen.append(transport.is_closing())
        transport.close()

    check(backend, program)


def test_readers_that_a_program_has_changed(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(asyncio.StreamReader):
        fed = 0

        def feed_data(self, data: bytes) -> None:
            self.fed += len(data)
            super().feed_data(data)

    async def program(seen: Trace) -> None:
        reader = Counting()
        transport, peer = await connect(asyncio.StreamReaderProtocol(reader))
        peer.sendall(b"data")
        seen.append(await reader.readexactly(4))
        seen.append(reader.fed)
        as_it_is = asyncio.StreamReader.feed_data
        with monkeypatch.context() as patched:
            patched.setattr(
                asyncio.StreamReader, "feed_data", lambda reader, data: as_it_is(reader, data[::-1])
            )
            peer.sendall(b"drawkcab")
            seen.append(await reader.readexactly(8))
        transport.close()
        peer.close()

    assert check(backend, program) == [b"data", 4, b"backward"]
