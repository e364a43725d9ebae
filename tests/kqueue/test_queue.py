"""What the kqueue for Linux promises beyond the recordings: threads, leaks, nesting, faults."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import resource
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator

import pytest
from linux_kqueue import NOTE_TRIGGER, Filter, Flag, Kevent, LinuxKqueue, Proc, Vnode
from replay import GLIMPSE, PATIENCE, drain, fill, is_asleep, wait_until

ADD, CLEAR, DELETE, DISPATCH = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.DISPATCH
ENABLE, ONESHOT = Flag.ENABLE, Flag.ONESHOT
READ, USER, WRITE = Filter.READ, Filter.USER, Filter.WRITE
LONG = 60.0  # seconds; a wait that is always ended by something else


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        peer.setblocking(False)
        yield ours, peer


Pair = tuple[socket.socket, socket.socket]


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def wait_number(system: LinuxKqueue, kq: int, timeout: float = 0) -> list[tuple[int, int]]:
    return [(e.ident, e.filter) for e in system.kevent(kq, room=16, timeout=timeout)]


def test_2000_queues_leak_no_descriptor(system: LinuxKqueue, pair: Pair) -> None:
    def one() -> None:
        kq = system.kqueue()
        system.kevent(kq, [Kevent(pair[0].fileno(), READ, ADD), Kevent(1, Filter.TIMER, ADD)])
        os.close(kq)

    one()
    gc.collect()
    before = open_descriptors()
    for _ in range(2000):
        one()
    assert open_descriptors() == before


@pytest.mark.parametrize("deleted", [True, False])
def test_no_filter_leaks_a_descriptor(system: LinuxKqueue, kq: int, deleted: bool) -> None:
    with tempfile.TemporaryFile() as file:
        knotes = [
            Kevent(file.fileno(), Filter.VNODE, ADD, Vnode.WRITE),
            Kevent(os.getppid(), Filter.PROC, ADD, Proc.EXIT),
            Kevent(signal.SIGURG, Filter.SIGNAL, ADD),
            Kevent(1, Filter.TIMER, ADD, data=60_000),
        ]

        def one() -> None:
            queue = kq if deleted else system.kqueue()
            system.kevent(queue, knotes)
            if deleted:
                system.kevent(queue, [knote._replace(flags=DELETE) for knote in knotes])
            else:
                os.close(queue)
                os.close(system.kqueue())

        one()
        before = open_descriptors()
        for _ in range(20):
            one()
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("which", "room"),
    [
        (Filter.VNODE, 0),
        (Filter.PROC, 0),
        (Filter.SIGNAL, 0),
        (Filter.SIGNAL, 1),  # it has two
        (Filter.TIMER, 0),
    ],
)
def test_a_knote_without_room_for_its_descriptor_is_refused_and_leaks_none(
    system: LinuxKqueue, kq: int, which: Filter, room: int
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryFile() as file:
        idents = {
            Filter.VNODE: file.fileno(),
            Filter.PROC: os.getppid(),
            Filter.SIGNAL: signal.SIGURG,
            Filter.TIMER: 1,
        }
        change = Kevent(idents[which], which, ADD, data=1)
        lowest_free = os.dup(kq)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + room, hard))
        try:
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                system.kevent(kq, [change])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with pytest.raises(FileNotFoundError):
            system.kevent(kq, [change._replace(flags=DELETE)])
        assert os.dup(kq) == lowest_free
        os.close(lowest_free)


def test_a_queue_which_took_over_the_number_of_another_starts_empty(
    system: LinuxKqueue, pair: Pair
) -> None:
    first = system.kqueue()
    system.kevent(first, [Kevent(pair[0].fileno(), WRITE, ADD)])
    os.close(first)
    second = system.kqueue()
    assert second == first
    assert wait_number(system, second) == []
    os.close(second)


def test_what_is_no_queue_is_einval_and_what_is_closed_ebadf(system: LinuxKqueue) -> None:
    with select.epoll() as other, pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        system.kevent(other.fileno(), room=1)
    kq = system.kqueue()
    os.close(kq)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        system.kevent(kq, room=1)


def test_a_filter_which_is_not_there_is_einval(system: LinuxKqueue, kq: int) -> None:
    aio = -3
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        system.kevent(kq, [Kevent(0, aio, ADD)])


@pytest.mark.parametrize("flags", [CLEAR, DISPATCH, ONESHOT], ids=lambda flag: flag.name)
def test_each_event_goes_to_one_of_several_threads(
    system: LinuxKqueue, kq: int, flags: Flag
) -> None:
    count, got, lock = 200, [], threading.Lock()
    pairs = [socket.socketpair() for _ in range(count)]
    stop = Kevent(1, USER, ADD)
    system.kevent(kq, [stop])

    def serve() -> None:
        while True:
            events = system.kevent(kq, room=4, timeout=LONG)
            mine = [event.ident for event in events if event.filter == READ]
            with lock:
                got.extend(mine)
            if any(event.filter == USER for event in events):
                return

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for ours, peer in pairs:
        system.kevent(kq, [Kevent(ours.fileno(), READ, ADD | flags)])
        peer.send(b"1")
    wait_until(lambda: len(got) >= count)
    system.kevent(kq, [Kevent(1, USER, fflags=NOTE_TRIGGER)])
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(ours.fileno() for ours, _ in pairs)
    for ours, peer in pairs:
        ours.close()
        peer.close()


def test_changes_by_one_thread_wake_another(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    got: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: got.extend(wait_number(system, kq, LONG)))
    thread.start()
    wait_until(lambda: is_asleep(thread))
    system.kevent(kq, [Kevent(pair[0].fileno(), READ, ADD)])
    pair[1].send(b"1")
    thread.join()
    assert got == [(pair[0].fileno(), READ)]


def test_an_edge_trigger_misses_nothing_of_a_long_stream(system: LinuxKqueue, kq: int) -> None:
    size = 1 << 22
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    received: list[int] = []

    def read() -> None:
        with peer:
            while chunk := peer.recv(1 << 16):
                received.append(len(chunk))

    thread = threading.Thread(target=read)
    thread.start()
    with ours:
        system.kevent(kq, [Kevent(ours.fileno(), WRITE, ADD | CLEAR)])
        left = size
        while left:
            assert wait_number(system, kq, PATIENCE) == [(ours.fileno(), WRITE)]
            try:
                while left:
                    left -= ours.send(bytes(min(left, 1 << 16)))
            except BlockingIOError:
                pass
    thread.join()
    assert sum(received) == size


def test_a_dispatched_knote_reports_what_came_meanwhile_when_enabled(
    system: LinuxKqueue, kq: int, pair: Pair
) -> None:
    ours, peer = pair
    system.kevent(kq, [Kevent(ours.fileno(), READ, ADD | DISPATCH)])
    peer.send(b"1")
    assert wait_number(system, kq, PATIENCE) == [(ours.fileno(), READ)]
    ours.recv(1)
    peer.send(b"2")
    assert wait_number(system, kq, GLIMPSE) == []
    system.kevent(kq, [Kevent(ours.fileno(), READ, ENABLE)])
    assert wait_number(system, kq, PATIENCE) == [(ours.fileno(), READ)]


def test_data_coming_in_is_no_write_edge(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    ours, peer = pair
    system.kevent(kq, [Kevent(ours.fileno(), which, ADD | CLEAR) for which in (READ, WRITE)])
    assert wait_number(system, kq) == [(ours.fileno(), WRITE)]
    peer.send(b"1")
    assert wait_number(system, kq, PATIENCE) == [(ours.fileno(), READ)]
    assert wait_number(system, kq, GLIMPSE) == []


def test_read_and_write_of_one_descriptor_are_deleted_apart(
    system: LinuxKqueue, kq: int, pair: Pair
) -> None:
    ours, peer = pair
    peer.send(b"1")
    system.kevent(kq, [Kevent(ours.fileno(), which, ADD) for which in (READ, WRITE)])
    system.kevent(kq, [Kevent(ours.fileno(), WRITE, DELETE)])
    assert wait_number(system, kq) == [(ours.fileno(), READ)]


@pytest.mark.parametrize("which", [READ, WRITE])
def test_a_number_which_is_used_again_can_be_added_again(
    system: LinuxKqueue, kq: int, which: Filter
) -> None:
    ours, peer = socket.socketpair()
    number = ours.fileno()
    duplicate = ours.dup()
    system.kevent(kq, [Kevent(number, which, ADD, udata=1)])
    peer.send(b"1")
    new, other = socket.socketpair()
    os.dup2(new.fileno(), number)
    with pytest.raises(FileNotFoundError):
        system.kevent(kq, [Kevent(number, which, DELETE)])
    system.kevent(kq, [Kevent(number, which, ADD, udata=2)])
    other.send(b"12")
    (event,) = system.kevent(kq, room=16, timeout=PATIENCE)
    assert (event.ident, event.udata) == (number, 2)
    assert which == WRITE or event.data == 2
    for sock in (ours, peer, duplicate, new, other):
        sock.close()


def test_a_number_which_names_a_file_by_now_has_no_knote(system: LinuxKqueue, kq: int) -> None:
    ours, peer = socket.socketpair()
    system.kevent(kq, [Kevent(ours.fileno(), WRITE, ADD)])
    with ours, peer, tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), ours.fileno())
        with pytest.raises(FileNotFoundError):
            system.kevent(kq, [Kevent(ours.fileno(), WRITE, DELETE)])


def test_a_queue_in_select_poll_and_epoll(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    ours, peer = pair
    system.kevent(kq, [Kevent(ours.fileno(), READ, ADD)])
    poll = select.poll()
    poll.register(kq, select.POLLIN)
    with select.epoll() as epoll:
        epoll.register(kq, select.EPOLLIN)

        def seen(timeout: float) -> tuple[bool, bool, bool]:
            return (
                bool(select.select([kq], [], [], timeout)[0]),
                bool(poll.poll(timeout * 1000)),
                bool(epoll.poll(timeout)),
            )

        assert seen(0) == (False, False, False)
        peer.send(b"1")
        assert seen(PATIENCE) == (True, True, True)
        assert wait_number(system, kq) == [(ours.fileno(), READ)]
        assert seen(PATIENCE) == (True, True, True)
        ours.recv(1)
        assert wait_number(system, kq) == []
        assert seen(0) == (False, False, False)


def test_a_fresh_socket_does_not_make_the_queue_readable(system: LinuxKqueue, kq: int) -> None:
    with socket.socket() as fresh:
        system.kevent(kq, [Kevent(fresh.fileno(), which, ADD) for which in (READ, WRITE)])
        assert select.select([kq], [], [], 0)[0] == []


def test_a_socket_fires_once_through_an_inner_queue_under_clear(
    system: LinuxKqueue, kq: int, pair: Pair
) -> None:
    ours, peer = pair
    inner = system.kqueue()
    system.kevent(inner, [Kevent(ours.fileno(), READ, ADD)])
    system.kevent(kq, [Kevent(inner, READ, ADD | CLEAR)])
    peer.send(b"1")
    assert wait_number(system, kq, PATIENCE) == [(inner, READ)]
    assert wait_number(system, kq, GLIMPSE) == []
    os.close(inner)


def test_a_waiter_on_the_outer_queue_wakes_for_the_inner_one(
    system: LinuxKqueue, kq: int, pair: Pair
) -> None:
    ours, peer = pair
    inner = system.kqueue()
    system.kevent(inner, [Kevent(ours.fileno(), READ, ADD)])
    system.kevent(kq, [Kevent(inner, READ, ADD)])
    got: list[tuple[int, int]] = []
    thread = threading.Thread(target=lambda: got.extend(wait_number(system, kq, LONG)))
    thread.start()
    wait_until(lambda: is_asleep(thread))
    peer.send(b"1")
    thread.join()
    assert got == [(inner, READ)]
    os.close(inner)


def test_queues_in_a_circle_do_not_hang(system: LinuxKqueue, kq: int) -> None:
    inner = system.kqueue()
    system.kevent(kq, [Kevent(inner, READ, ADD)])
    system.kevent(inner, [Kevent(kq, READ, ADD), Kevent(1, USER, ADD)])
    assert wait_number(system, kq) == []
    system.kevent(inner, [Kevent(1, USER, fflags=NOTE_TRIGGER)])
    assert wait_number(system, kq, PATIENCE) == [(inner, READ)]
    os.close(inner)


def test_a_descriptor_with_a_ghost_reports_again_once_it_is_back(
    system: LinuxKqueue, kq: int, pair: Pair
) -> None:
    ours, peer = pair
    number, duplicate = ours.fileno(), ours.dup()
    system.kevent(kq, [Kevent(number, READ, ADD, udata=1)])
    ours.close()
    peer.send(b"1")
    assert wait_number(system, kq, GLIMPSE) == []
    os.dup2(duplicate.fileno(), number)
    system.kevent(kq, [Kevent(number, READ, ADD, udata=2)])
    assert [e.udata for e in system.kevent(kq, room=16, timeout=PATIENCE)] == [2]
    os.close(number)
    duplicate.close()


def test_write_is_silent_while_full(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    ours, peer = pair
    filled = fill(ours)
    system.kevent(kq, [Kevent(ours.fileno(), WRITE, ADD)])
    assert wait_number(system, kq, GLIMPSE) == []
    drain(peer, filled)
    assert wait_number(system, kq, PATIENCE) == [(ours.fileno(), WRITE)]


def test_eintr_on_demand(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    system.misbehave("EINTR", 2)
    change = Kevent(pair[0].fileno(), WRITE, ADD)
    with pytest.raises(InterruptedError):
        system.kevent(kq, [change], room=16, timeout=LONG)
    system.kevent(kq, [change])
    with pytest.raises(InterruptedError):
        system.kevent(kq, room=16, timeout=LONG)
    assert wait_number(system, kq, LONG) == [(pair[0].fileno(), WRITE)]


def test_enomem_on_demand(system: LinuxKqueue, kq: int, pair: Pair) -> None:
    system.misbehave("ENOMEM", 1)
    change = Kevent(pair[0].fileno(), WRITE, ADD)
    (error,) = system.kevent(kq, [change], room=1)
    assert (error.flags, error.data) == (Flag.ERROR, errno.ENOMEM)
    assert wait_number(system, kq) == []
    system.kevent(kq, [change])
    assert wait_number(system, kq) == [(pair[0].fileno(), WRITE)]


def test_no_user_events_on_demand(system: LinuxKqueue, kq: int) -> None:
    change = Kevent(1, USER, ADD)
    system.misbehave("no-user", 1)
    for _ in range(2):
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            system.kevent(kq, [change])
    system.misbehave("no-user", 0)
    system.kevent(kq, [change])


@pytest.fixture
def late(system: LinuxKqueue) -> Iterator[None]:
    system.misbehave("late", 1)
    yield
    system.misbehave("late", 0)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("flags", [ADD, ADD | CLEAR])
def test_on_demand_an_inner_queue_is_seen_by_the_second_look(
    system: LinuxKqueue, kq: int, late: None, depth: int, flags: int
) -> None:
    queues = [kq] + [system.kqueue() for _ in range(depth)]
    for outer, inner in itertools.pairwise(queues):
        system.kevent(outer, [Kevent(inner, READ, flags)])
    system.kevent(queues[-1], [Kevent(1, USER, ADD | CLEAR)])
    for _ in range(2):
        system.kevent(queues[-1], [Kevent(1, USER, fflags=NOTE_TRIGGER)])
        system.kevent(kq, [Kevent(2, USER, ADD)])
        assert wait_number(system, kq) == []
        assert wait_number(system, kq) == [(queues[1], READ)]
        for queue in reversed(queues[1:]):
            wait_number(system, queue)
        assert wait_number(system, kq) == []
    for queue in queues[1:]:
        os.close(queue)


@pytest.mark.parametrize("timeout", [None, LONG])
@pytest.mark.parametrize("is_asleep_before", [False, True])
def test_on_demand_a_wait_waits_on_for_an_inner_queue(
    system: LinuxKqueue, kq: int, late: None, timeout: float | None, is_asleep_before: bool
) -> None:
    inner = system.kqueue()
    system.kevent(kq, [Kevent(inner, READ, ADD | CLEAR)])
    system.kevent(inner, [Kevent(1, USER, ADD)])
    seen: list[Kevent] = []
    waiter = threading.Thread(
        target=lambda: seen.extend(system.kevent(kq, room=16, timeout=timeout))
    )
    if is_asleep_before:
        waiter.start()
        wait_until(lambda: is_asleep(waiter))
    system.kevent(inner, [Kevent(1, USER, fflags=NOTE_TRIGGER)])
    if not is_asleep_before:
        waiter.start()
    waiter.join(PATIENCE)
    assert [event.ident for event in seen] == [inner]
    os.close(inner)


def test_calls_are_counted(system: LinuxKqueue, kq: int) -> None:
    before = system.calls()
    system.kevent(kq)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        system.kevent(-1)
    assert system.calls() == before + 2
