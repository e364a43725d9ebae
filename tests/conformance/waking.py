"""`Waker`: R16."""

import errno
import gc
import signal
import threading

from case import LEVEL, case
from sources import WAIT
from world import READABLE, WRITABLE, WRITE_CLOSED, R, W, World, batch_of

from pollster import Events, NotRegisteredError, Poll, Token, Waker

LEVEL_ONLY = (LEVEL,)


@case("R16", "libxev#163, libuv#4330 wakers need no user events of the kernel", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    # NetBSD 9 defines EVFILT_USER and can't do it, OpenBSD has it from 7.8 on.
    one, other = world.waker(1), world.waker(2)
    one.wake()
    world.expect({1: READABLE})
    one.close()
    world.expect({})
    other.wake()
    world.expect({2: READABLE})
    world.again()
    with world.thread(other.wake):
        world.expect({2: READABLE})


@case("R16", "mio: a wake before the poll is not lost", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    world.waker(1).wake()
    world.expect({1: READABLE})
    world.again()


@case("R16", "mio: wakes are coalesced, and come again after an event", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker = world.waker(1)
    for _ in range(3):
        for _ in range(1000):
            waker.wake()
        world.expect({1: READABLE})
        world.again()


@case("R16", "polling#265 a waker does not become level-triggered", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker = world.waker(1)
    for _ in range(50):
        waker.wake()
        world.expect({1: READABLE})
        waker.wake()
        waker.wake()
        world.expect({1: READABLE})
        world.again()


@case("R16", "it wakes another thread's poll, again and again", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker, woken, rounds = world.waker(1), threading.Semaphore(0), 100

    def wake() -> None:
        for _ in range(rounds):
            waker.wake()
            woken.acquire(timeout=WAIT)

    with world.thread(wake):
        for _ in range(rounds):
            world.expect({1: READABLE})
            woken.release()
    world.again()


@case("R16", "mio#1283 several wakers of a Poll are told apart", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    wakers = [world.waker(token) for token in range(5)]
    wakers[1].wake()
    wakers[4].wake()
    world.expect({1: READABLE, 4: READABLE})
    for waker in wakers:
        waker.wake()
    world.expect(dict.fromkeys(range(5), READABLE))
    world.again()


@case("R16", "a signal handler may wake", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker = world.waker(1)
    before = signal.signal(signal.SIGALRM, lambda number, frame: waker.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        world.expect({1: READABLE})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@case("R16", "an outer Poll sees a wake, with every trigger")
def _(world: World) -> None:
    waker, outer = world.waker(1), world.another_poll()
    world.register(world.poll, 9, R, poll=outer)
    world.expect({}, poll=outer)
    for _ in range(3):
        waker.wake()
        world.expect({9: READABLE}, poll=outer)
        world.expect({1: READABLE})
        world.rearm(outer)
        world.expect({}, poll=outer)


@case("R16", "mio#1987, mio#1993 a waker that was ended can't wake, and says so")
def _(world: World) -> None:
    # FreeBSD refuses to trigger a user event that is not there.
    for end in ("close", "deregister"):
        waker = Waker(world.poll.registry, Token(1))
        waker.wake()
        events = world.poll.poll(timeout=0)
        waker.wake()
        if end == "close":
            waker.close()
        else:
            world.poll.registry.deregister(waker)
        assert list(events) == []
        world.expect({})
        with world.refused(NotRegisteredError, errno.ENOENT, "make a new Waker"):
            waker.wake()
        waker.close()
    assert list(world.poll.registry) == []


@case("R16", "a later waker in its place is not woken by the old one", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    old = Waker(world.poll.registry, Token(1))
    old.wake()
    old.close()
    fresh = world.waker(2)
    with world.refused(NotRegisteredError, errno.ENOENT):
        old.wake()
    world.expect({})
    fresh.wake()
    world.expect({2: READABLE})


@case("R16", "libuv#3629 a waker is not mistaken for the descriptor of the same number")
def _(world: World) -> None:
    # A user event's ident may equal a descriptor: every number up to 80 is one of the two, or both.
    ends = [world.one_way() for _ in range(40)]
    for token, (_, writer) in enumerate(ends):
        world.register(writer, token, W)
    wakers = {token: world.waker(token) for token in range(100, 140)}
    world.expect(dict.fromkeys(range(40), WRITABLE))
    for waker in wakers.values():
        waker.wake()
    world.rearm()
    world.expect({**dict.fromkeys(range(40), WRITABLE), **dict.fromkeys(wakers, READABLE)})
    for waker in wakers.values():
        waker.close()
    world.rearm()
    for reader, _ in ends:
        reader.close()
    batch = batch_of(world.poll.poll(timeout=0))
    assert batch == dict.fromkeys(range(40), WRITE_CLOSED)


@case("R16", "of several pollers one is woken", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    waker = Waker(world.poll.registry, Token(1))
    ends = [Waker(world.poll.registry, Token(token)) for token in (2, 3, 4)]
    got: list[int] = []
    first = threading.Event()

    def work() -> None:
        events = Events(1)
        while True:
            for event in world.poll.poll(events):
                got.append(int(event.token))
                first.set()
                if event.token != 1:
                    return

    with world.thread(work), world.thread(work), world.thread(work):
        waker.wake()
        assert first.wait(WAIT)
        for end in ends:
            end.wake()
    assert sorted(got) == [1, 2, 3, 4]


@case("R16", "it stays registered while nobody holds it", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    wake = Waker(world.poll.registry, Token(1)).wake
    gc.collect()
    wake()
    assert batch_of(world.poll.poll(timeout=0)) == {1: READABLE}


@case("R16", "it is registered with the Poll it was made for, and with no other")
def _(world: World) -> None:
    waker, other = world.waker(7), world.another_poll()
    listed = [(r.source, int(r.token)) for r in world.poll.registry]
    assert listed == [(waker, 7)]
    with world.refused(NotRegisteredError, errno.ENOENT):
        other.registry.deregister(waker)
    with world.refused(TypeError, 0, "Waker"):
        world.poll.registry.register(waker, Token(8), R, world.trigger)
    waker.wake()
    world.expect({7: READABLE})


@case("R16", "mio: two thousand Polls with a waker leak nothing", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    for _ in range(2000):
        with Poll(backend=world.backend) as poll:
            Waker(poll.registry, Token(1)).wake()
            assert len(poll.poll(timeout=0)) == 1
