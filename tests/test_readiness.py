"""What each kind of source reports: R1, R3, R4, R5, for all four triggers, on every back end."""

import contextlib
import errno
import os
import pty
import socket
import struct
import threading

import pytest

from pollster import Events, Interest, Poll, Token, Trigger, Waker

R, W = Interest.READABLE, Interest.WRITABLE
LEVEL, EDGE = Trigger.LEVEL, Trigger.EDGE
ONESHOT, EDGE_ONESHOT = Trigger.ONESHOT, Trigger.EDGE_ONESHOT
EVERY_TRIGGER = list(Trigger)
BOTH = {"readable", "writable"}
GONE = {"readable", "writable", "read_closed", "write_closed"}

every_trigger = pytest.mark.parametrize("trigger", EVERY_TRIGGER)


def reset(peer: socket.socket) -> None:
    """Closes a TCP socket with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def fill(sender: socket.socket) -> None:
    """Sends until nothing more fits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sender.send(bytes(65536))


def fill_pipe(writer: int) -> None:
    """Writes until nothing more fits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))


def drain(receiver: socket.socket) -> None:
    """Receives until nothing is left."""
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            receiver.recv(65536)


# Streams


def test_an_idle_stream_is_writable(poll, pair, ready_now) -> None:
    ours, _ = pair
    poll.registry.register(ours, Token(1), R | W)
    assert ready_now(poll) == {1: {"writable"}}


@every_trigger
def test_data_makes_a_stream_readable(poll, pair, wait_for, trigger) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R, trigger)
    peer.send(b"x")
    wait_for(poll, {1: {"readable"}})


def test_both_directions_are_one_event(poll, pair, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R | W)
    peer.send(b"x")
    wait_for(poll, {1: BOTH})


@every_trigger
def test_an_interest_hides_the_other_direction(poll, pair, ready_now, wait_for, trigger) -> None:
    ours, peer = pair
    peer.send(b"x")
    poll.registry.register(ours, Token(1), R, trigger)
    wait_for(poll, {1: {"readable"}})
    poll.registry.reregister(ours, Token(1), W, trigger)
    assert ready_now(poll) == {1: {"writable"}}


def test_level_repeats_until_it_is_read(poll, pair, ready_now, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R)
    peer.send(b"xy")
    wait_for(poll, {1: {"readable"}})
    ours.recv(1)
    assert ready_now(poll) == {1: {"readable"}}
    ours.recv(1)
    assert ready_now(poll) == {}


def test_an_edge_comes_once_and_again_with_new_data(poll, pair, ready_now, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R, EDGE)
    for _ in range(3):
        peer.send(b"x")
        wait_for(poll, {1: {"readable"}})
        assert ready_now(poll) == {}


def test_an_edge_comes_for_data_from_before(poll, pair, wait_for) -> None:
    ours, peer = pair
    peer.send(b"x")
    poll.registry.register(ours, Token(1), R, EDGE)
    wait_for(poll, {1: {"readable"}})


def test_an_edge_of_writability_comes_after_a_full_buffer(poll, unix_pair, ready_now) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), W, EDGE)
    assert ready_now(poll) == {1: {"writable"}}
    fill(ours)
    assert ready_now(poll) == {}
    drain(peer)
    assert ready_now(poll) == {1: {"writable"}}
    assert ready_now(poll) == {}


@pytest.mark.parametrize("trigger", [ONESHOT, EDGE_ONESHOT])
def test_one_shot_disables_the_whole_source(poll, pair, ready_now, wait_for, trigger) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R | W, trigger)
    assert ready_now(poll) == {1: {"writable"}}
    peer.send(b"x")
    assert ready_now(poll) == {}
    assert [r.token for r in poll.registry] == [1]
    poll.registry.reregister(ours, Token(1), R | W, trigger)
    wait_for(poll, {1: BOTH})
    peer.send(b"x")
    assert ready_now(poll) == {}


def test_a_disabled_one_shot_source_wakes_nobody(backend, poll, unix_pair, ready_now) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), R | W, ONESHOT)
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(9), R)
        assert ready_now(outer) == {9: {"readable"}}
        assert ready_now(poll) == {1: {"writable"}}
        peer.send(b"x")
        assert ready_now(outer) == {}


@pytest.mark.parametrize("trigger", [ONESHOT, EDGE_ONESHOT])
def test_of_several_pollers_one_gets_a_one_shot_event(backend, poll, fds, trigger) -> None:
    count, got, lock = 200, [], threading.Lock()
    pairs = [socket.socketpair() for _ in range(count)]
    for token, (ours, peer) in enumerate(pairs):
        peer.send(b"x")
        poll.registry.register(ours, Token(token), R | W, trigger)
    done = Waker(poll.registry, Token(count))

    def work() -> None:
        events = Events(3)
        while True:
            for event in poll.poll(events):
                if event.token == count:
                    return
                with lock:
                    got.append(int(event.token))
                    finished = len(got) >= count
                if finished:
                    done.wake()
                    return

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.01)
        if len(got) >= count:
            done.wake()
    assert sorted(got) == list(range(count))
    assert not poll.poll(timeout=0) or list(poll.poll(timeout=0)) == []
    for ours, peer in pairs:
        ours.close()
        peer.close()


# Half-close, close, reset


@every_trigger
def test_a_half_close_is_read_closed(poll, pair, wait_for, trigger) -> None:
    ours, peer = pair
    peer.shutdown(socket.SHUT_WR)
    poll.registry.register(ours, Token(1), R, trigger)
    wait_for(poll, {1: {"readable", "read_closed"}})
    assert ours.recv(1) == b""


def test_unread_data_comes_before_the_end(poll, pair, ready_now, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R)
    peer.send(b"hello")
    peer.shutdown(socket.SHUT_WR)
    wait_for(poll, {1: {"readable", "read_closed"}})
    assert ours.recv(10) == b"hello"
    assert ready_now(poll) == {1: {"readable", "read_closed"}}
    assert ours.recv(10) == b""
    assert ready_now(poll) == {1: {"readable", "read_closed"}}


def test_after_a_half_close_one_can_still_write(poll, pair, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R | W)
    peer.shutdown(socket.SHUT_WR)
    wait_for(poll, {1: {"readable", "writable", "read_closed"}})
    ours.send(b"still")
    assert peer.recv(10) == b"still"


def test_data_and_then_a_half_close_are_two_edges(poll, pair, wait_for) -> None:
    ours, peer = pair
    poll.registry.register(ours, Token(1), R, EDGE)
    peer.send(b"x")
    wait_for(poll, {1: {"readable"}})
    peer.shutdown(socket.SHUT_WR)
    wait_for(poll, {1: {"readable", "read_closed"}})


@every_trigger
def test_a_unix_peer_that_goes_closes_both_directions(poll, unix_pair, ready_now, trigger) -> None:
    ours, peer = unix_pair
    peer.close()
    poll.registry.register(ours, Token(1), R | W, trigger)
    assert ready_now(poll) == {1: GONE}


@pytest.mark.parametrize(
    ("interest", "expected"),
    [(R, {"readable", "read_closed"}), (W, {"writable", "write_closed"}), (R | W, GONE)],
)
def test_closed_predicates_are_of_the_interest(
    poll, unix_pair, ready_now, interest, expected
) -> None:
    ours, peer = unix_pair
    poll.registry.register(ours, Token(1), interest)
    peer.close()
    assert ready_now(poll) == {1: expected}
    assert ready_now(poll) == {1: expected}


def test_a_tcp_peer_that_goes_is_read_closed_until_a_reset(poll, tcp_pair, wait_for) -> None:
    ours, peer = tcp_pair
    poll.registry.register(ours, Token(1), R | W)
    peer.close()
    wait_for(poll, {1: {"readable", "writable", "read_closed"}})
    ours.send(b"into the void")
    wait_for(poll, {1: GONE | {"error"}})


@every_trigger
def test_a_reset_is_an_error_that_so_error_explains(poll, tcp_pair, wait_for, trigger) -> None:
    ours, peer = tcp_pair
    poll.registry.register(ours, Token(1), R, trigger)
    reset(peer)
    wait_for(poll, {1: {"readable", "read_closed", "error"}})
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET


@pytest.mark.parametrize("interest", [R, W, R | W])
def test_a_reset_closes_the_directions_of_the_interest(
    poll, tcp_pair, ready_now, wait_for, interest
) -> None:
    ours, peer = tcp_pair
    expected = {"error"}
    if interest & R:
        expected |= {"readable", "read_closed"}
    if interest & W:
        expected |= {"writable", "write_closed"}
    poll.registry.register(ours, Token(1), interest)
    reset(peer)
    wait_for(poll, {1: expected})
    ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert ready_now(poll) == {1: expected - {"error"}}


# Listening and connecting


@every_trigger
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_is_readable_when_somebody_comes(
    poll, ready_now, wait_for, trigger, family
) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with socket.create_server((host, 0), family=family) as listener:
        poll.registry.register(listener, Token(1), R, trigger)
        assert ready_now(poll) == {}
        with socket.create_connection(listener.getsockname()[:2]):
            wait_for(poll, {1: {"readable"}})
            listener.accept()[0].close()
            assert ready_now(poll) == {}


def test_a_listener_stays_readable_while_others_wait(poll, wait_for, ready_now) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        poll.registry.register(listener, Token(1), R)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(2)]
        wait_for(poll, {1: {"readable"}})
        listener.accept()[0].close()
        assert ready_now(poll) == {1: {"readable"}}
        listener.accept()[0].close()
        assert ready_now(poll) == {}
        for client in clients:
            client.close()


@every_trigger
def test_a_connect_that_succeeds_is_writable(poll, wait_for, trigger) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket() as client,
    ):
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        poll.registry.register(client, Token(1), R | W, trigger)
        wait_for(poll, {1: {"writable"}})
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@every_trigger
def test_a_connect_that_is_refused_is_an_error_that_so_error_explains(
    poll, collect, trigger
) -> None:
    with socket.socket() as unused, socket.socket() as client:
        unused.bind(("127.0.0.1", 0))
        client.setblocking(False)
        if client.connect_ex(unused.getsockname()) == errno.ECONNREFUSED:
            pytest.skip("this kernel refuses at once: there is nothing left to report")
        poll.registry.register(client, Token(1), R | W, trigger)
        assert collect(poll, {1})[1] == GONE | {"error"}
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


# Datagrams


@every_trigger
def test_each_datagram_counts_also_an_empty_one(poll, wait_for, ready_now, trigger) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        ours.bind(("127.0.0.1", 0))
        poll.registry.register(ours, Token(1), R, trigger)
        for _ in range(2):
            peer.sendto(b"", ours.getsockname())
            wait_for(poll, {1: {"readable"}})
            assert ours.recv(10) == b""
            assert ready_now(poll) == {}
            poll.registry.reregister(ours, Token(1), R, trigger)


def test_a_refused_datagram_is_readable_and_recv_tells(poll, wait_for) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused,
    ):
        unused.bind(("127.0.0.1", 0))
        ours.connect(unused.getsockname())
        unused.close()
        poll.registry.register(ours, Token(1), R)
        ours.send(b"x")
        wait_for(poll, {1: {"readable"}})
        with pytest.raises(ConnectionRefusedError):
            ours.recv(10)


def test_unix_datagrams_are_sources(poll, ready_now) -> None:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, peer:
        poll.registry.register(ours, Token(1), R | W)
        assert ready_now(poll) == {1: {"writable"}}
        peer.send(b"x")
        assert ready_now(poll) == {1: BOTH}


# Pipes, FIFOs, terminals


@every_trigger
def test_a_pipe_reports_data_and_room(poll, fds, ready_now, trigger) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), R, trigger)
    poll.registry.register(writer, Token(2), W, trigger)
    assert ready_now(poll) == {2: {"writable"}}
    os.write(writer, b"x")
    assert ready_now(poll)[1] == {"readable"}


def test_a_full_pipe_is_not_writable(poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fill_pipe(writer)
    assert ready_now(poll) == {}
    os.read(reader, 65536)
    assert ready_now(poll) == {1: {"writable"}}


@every_trigger
def test_a_pipe_without_a_writer_is_read_closed(poll, fds, ready_now, trigger) -> None:
    reader, writer = fds.pipe()
    os.write(writer, b"x")
    fds.close(writer)
    poll.registry.register(reader, Token(1), R, trigger)
    assert ready_now(poll) == {1: {"readable", "read_closed"}}
    repeats = {1: {"readable", "read_closed"}} if trigger == LEVEL else {}
    assert ready_now(poll) == repeats
    assert os.read(reader, 10) == b"x"
    assert ready_now(poll) == repeats
    assert os.read(reader, 10) == b""


@every_trigger
def test_a_pipe_that_loses_its_reader_is_write_closed(poll, fds, ready_now, trigger) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W, trigger)
    assert ready_now(poll) == {1: {"writable"}}
    fds.close(reader)
    closed = {1: {"writable", "write_closed"}}
    if trigger in (ONESHOT, EDGE_ONESHOT):
        assert ready_now(poll) == {}
        poll.registry.reregister(writer, Token(1), W, trigger)
    assert ready_now(poll) == closed
    for _ in range(3):
        assert ready_now(poll) == (closed if trigger == LEVEL else {})
    poll.registry.reregister(writer, Token(2), W, trigger)
    assert ready_now(poll) == {2: {"writable", "write_closed"}}
    poll.registry.deregister(writer)
    assert ready_now(poll) == {}


@every_trigger
def test_a_pipe_that_had_no_reader_is_write_closed(poll, fds, ready_now, trigger) -> None:
    reader, writer = fds.pipe()
    fds.close(reader)
    poll.registry.register(writer, Token(1), W, trigger)
    closed = {1: {"writable", "write_closed"}}
    assert ready_now(poll) == closed
    for _ in range(3):
        assert ready_now(poll) == (closed if trigger == LEVEL else {})
    poll.registry.deregister(writer)
    assert list(poll.registry) == []
    poll.registry.register(writer, Token(2), W, trigger)
    assert ready_now(poll) == {2: {"writable", "write_closed"}}


def test_a_full_pipe_that_loses_its_reader_is_write_closed(poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(writer, Token(1), W)
    fill_pipe(writer)
    fds.close(reader)
    for _ in range(3):
        assert ready_now(poll) == {1: {"writable", "write_closed"}}


def test_hung_up_pipes_take_turns_with_the_rest(poll, fds) -> None:
    for token in range(6):
        reader, writer = fds.pipe()
        poll.registry.register(writer, Token(token), W)
        if token % 2:
            fds.close(reader)
    events, count = Events(2), dict.fromkeys(range(6), 0)
    for _ in range(60):
        for event in poll.poll(events, timeout=0):
            assert event.is_write_closed == bool(event.token % 2)
            count[int(event.token)] += 1
    assert min(count.values()) >= 5, count


def test_a_hung_up_pipe_wakes_a_poll_that_waits(poll, fds) -> None:
    _, idle = fds.pipe()
    reader, writer = fds.pipe()
    fds.close(reader)
    woken = Waker(poll.registry, Token(9))
    poll.registry.register(idle, Token(1), R)
    thread = threading.Thread(target=poll.registry.register, args=(writer, Token(2), W))
    thread.start()
    assert [event.token for event in poll.poll(timeout=10)] == [2]
    thread.join()
    woken.close()


def test_a_hung_up_pipe_is_seen_by_an_outer_poll(backend, poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    with Poll(backend=backend) as outer:
        outer.registry.register(poll, Token(9), R)
        fds.close(reader)
        poll.registry.register(writer, Token(1), W)
        for _ in range(3):
            assert ready_now(outer) == {9: {"readable"}}
            assert ready_now(poll) == {1: {"writable", "write_closed"}}
        poll.registry.deregister(writer)
        assert ready_now(outer) == {}


def test_a_reused_number_of_a_hung_up_pipe_is_a_new_source(poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    fds.close(reader)
    poll.registry.register(writer, Token(1), W)
    assert ready_now(poll) == {1: {"writable", "write_closed"}}
    _, fresh = fds.pipe()
    os.dup2(fresh, writer)
    assert ready_now(poll) == {}
    poll.registry.register(writer, Token(2), W)
    assert ready_now(poll) == {2: {"writable"}}


def test_a_fifo_that_gets_a_new_reader_is_writable_again(poll, fds, tmp_path, ready_now) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = fds.keep(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    writer = fds.keep(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    poll.registry.register(writer, Token(1), W)
    assert ready_now(poll) == {1: {"writable"}}
    fds.close(reader)
    assert ready_now(poll) == {1: {"writable", "write_closed"}}
    fds.keep(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    assert ready_now(poll) == {1: {"writable"}}


def test_the_ends_of_a_pipe_go_one_way(poll, fds, ready_now) -> None:
    reader, writer = fds.pipe()
    if os.uname().sysname in ("FreeBSD", "OpenBSD"):
        pytest.skip("pipe(2): pipes go both ways there, and both ends are truly writable")
    poll.registry.register(reader, Token(1), R | W)
    poll.registry.register(writer, Token(2), R | W)
    assert ready_now(poll) == {2: {"writable"}}
    os.write(writer, b"x")
    assert ready_now(poll) == {1: {"readable"}, 2: {"writable"}}


def test_the_wrong_end_of_a_broken_pipe_does_not_spin(poll, fds) -> None:
    reader, writer = fds.pipe()
    poll.registry.register(writer, Token(1), R)
    fds.close(reader)
    assert not poll.poll(timeout=0.001)
    assert not poll.poll(timeout=0)


def test_the_wrong_end_of_a_broken_pipe_keeps_nobody_out(poll, fds) -> None:
    """Found by the model test: its entry filled the batch, and then nothing was left of it."""
    reader, writer = fds.pipe()
    poll.registry.register(reader, Token(1), W)
    fds.close(writer)
    poll.registry.register(fds.pipe()[1], Token(2), W)
    assert [event.token for event in poll.poll(Events(1), timeout=0)] == [2]


def test_a_terminal_whose_other_side_goes_is_closed(poll, fds, wait_for) -> None:
    master, slave = map(fds.keep, pty.openpty())
    poll.registry.register(master, Token(1), R | W)
    wait_for(poll, {1: {"writable"}})
    fds.close(slave)
    wait_for(poll, {1: GONE})


def test_a_terminal_that_loses_its_master_has_no_socket_error(poll, fds, collect) -> None:
    master, slave = map(fds.keep, pty.openpty())
    poll.registry.register(slave, Token(1), R | W)
    poll.poll(timeout=0)
    fds.close(master)
    for _ in range(3):
        assert not collect(poll, {1})[1] & {"error", "priority"}


# Many


def test_a_hundred_connections_are_a_hundred_events(poll, collect) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        pairs = []
        for token in range(100):
            client = socket.create_connection(listener.getsockname())
            peer, _ = listener.accept()
            pairs.append((client, peer))
            poll.registry.register(client, Token(token), R | W)
            peer.send(b"x")
        ready = collect(poll, set(range(100)))
        assert len(ready) == 100
        for client, peer in pairs:
            client.close()
            peer.close()


def test_a_batch_that_meets_everything_for_the_first_time_has_room(poll, fds) -> None:
    """Sockets of both directions, and pipes that kqueue reports from a list of its own."""
    pairs = [socket.socketpair() for _ in range(128)]
    for token, (ours, peer) in enumerate(pairs):
        peer.send(b"x")
        poll.registry.register(ours, Token(token), R | W)
    for token in range(128, 255):
        reader, writer = fds.pipe()
        fds.close(reader)
        poll.registry.register(writer, Token(token), W)
    events, seen = Events(256), set()
    for _ in range(4):
        seen |= {int(event.token) for event in poll.poll(events, timeout=0)}
    assert seen == set(range(255))
    for ours, peer in pairs:
        poll.registry.deregister(ours)
        ours.close()
        peer.close()


def test_a_megabyte_arrives_through_edges(poll, pair) -> None:
    ours, peer = pair
    peer.setblocking(False)
    data, got = memoryview(os.urandom(1 << 20)), bytearray()
    sent = 0
    poll.registry.register(ours, Token(1), R, EDGE)
    poll.registry.register(peer, Token(2), W, EDGE)
    while len(got) < len(data):
        batch = poll.poll(timeout=10)
        assert batch, f"stuck at {sent} sent, {len(got)} received"
        for event in batch:
            try:
                while event.token == 1:
                    got += ours.recv(65536)
                while event.token == 2 and sent < len(data):
                    sent += peer.send(data[sent:])
            except BlockingIOError:
                continue
    assert got == data
