"""Connecting: R3."""

import errno
import select
import socket

from case import Gate, case
from sources import LISTENERS, TCP, WAIT, SocketEnd, accepted, family
from world import BOTH, ERROR, GONE, READ_CLOSED, WRITABLE, NotHere, R, W, World


def start(world: World, address: object) -> SocketEnd:
    """Begins to connect a socket of this run's kind."""
    client = world.keep(SocketEnd(socket.socket(family(world.kind))))
    code = client.sock.connect_ex(address)  # type: ignore[arg-type]  # a family's own address
    if code == errno.ECONNREFUSED:
        raise NotHere("this kernel refuses at once: there is nothing left to report")
    assert code in (0, errno.EINPROGRESS)
    return client


def unused_address(world: World) -> object:
    """An address that nobody listens at, reserved by a socket that is bound and no more."""
    reserved = world.keep(SocketEnd(socket.socket(family(world.kind))))
    reserved.sock.bind(("127.0.0.1" if world.kind == "tcp4" else "::1", 0))
    return reserved.sock.getsockname()


def wait_for_the_answer(client: SocketEnd) -> None:
    """Waits until the connect has succeeded or failed."""
    assert select.select([], [client], [], WAIT)[1]


@case("R3", "a connect that succeeds is writable and no error", kinds=LISTENERS)
def _(world: World) -> None:
    listener = world.listener()
    client = start(world, listener.sock.getsockname())
    world.register(client, 1, R | W)
    world.expect({1: WRITABLE})
    world.again()
    assert client.so_error() == 0
    peer = world.keep(SocketEnd(accepted(listener.sock)))
    peer.send(b"x")
    assert select.select([client], [], [], WAIT)[0]
    world.rearm()
    world.expect({1: BOTH})


@case("R3", "a connect that has succeeded before registration is writable", kinds=LISTENERS)
def _(world: World) -> None:
    listener = world.listener()
    client = start(world, listener.sock.getsockname())
    wait_for_the_answer(client)
    world.register(client, 1, W)
    world.expect({1: WRITABLE})


@case("R3", "a connect that is refused is an error that SO_ERROR explains", kinds=TCP)
def _(world: World) -> None:
    client = start(world, unused_address(world))
    world.register(client, 1, R | W)
    wait_for_the_answer(client)
    world.expect({1: GONE | ERROR})
    assert client.so_error() == errno.ECONNREFUSED
    world.rearm()
    world.expect({1: GONE})


@case("R3", "a connect that was refused before registration is reported", kinds=TCP)
def _(world: World) -> None:
    client = start(world, unused_address(world))
    wait_for_the_answer(client)
    world.register(client, 1, R | W)
    world.expect({1: GONE | ERROR})
    assert client.so_error() == errno.ECONNREFUSED


@case("R3", "a refused connect is also told to who only reads", kinds=TCP)
def _(world: World) -> None:
    client = start(world, unused_address(world))
    wait_for_the_answer(client)
    world.register(client, 1, R)
    world.expect({1: READ_CLOSED | ERROR})


def unconnected_is_silent(world: World) -> None:
    client = world.keep(SocketEnd(socket.socket(family(world.kind))))
    world.register(client, 1, R | W)
    world.expect({})


@case(
    "R3",
    "a TCP socket that was never connected",
    kinds=TCP,
    gates=(
        Gate(
            ("kqueue",),
            "only epoll has something to say of it: that it is hung up",
            "recorded: non-blocking connect, success (fresh unconnected socket)",
            unconnected_is_silent,
        ),
    ),
)
def _(world: World) -> None:
    client = world.keep(SocketEnd(socket.socket(family(world.kind))))
    world.register(client, 1, R | W)
    world.expect({1: GONE})


@case("R3", "a socket reregistered once it connects reports like any other", kinds=LISTENERS)
def _(world: World) -> None:
    listener = world.listener()
    client = world.keep(SocketEnd(socket.socket(family(world.kind))))
    world.register(client, 1, R | W)
    assert client.sock.connect_ex(listener.sock.getsockname()) in (0, errno.EINPROGRESS)
    wait_for_the_answer(client)
    world.reregister(client, 2, R | W)
    world.expect({2: WRITABLE})


@case("R3", "a connection whose listener closed before it was accepted is reset", kinds=TCP)
def _(world: World) -> None:
    listener = world.listener()
    client = start(world, listener.sock.getsockname())
    wait_for_the_answer(client)
    assert select.select([listener], [], [], WAIT)[0]
    world.register(client, 1, R | W)
    world.expect({1: WRITABLE})
    listener.close()
    assert select.select([client], [], [], WAIT)[0]
    world.rearm()
    world.expect({1: GONE | ERROR})
    assert client.so_error() == errno.ECONNRESET
