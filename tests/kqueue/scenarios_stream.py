"""Cases about connected stream sockets: each socketpair's and TCP's."""

from __future__ import annotations

import resource
import socket
import struct

from linux_kqueue import Filter
from replay import Replay, drain, fill
from scenario import entry, replays, replays_pair

RESET = "Connection reset by peer"
BUFFERS = "Linux's buffers are of other sizes"
LINGER_0 = struct.pack("ii", 1, 0)
READ, WRITE = Filter.READ, Filter.WRITE


@replays_pair("level READ+WRITE")
def level(r: Replay) -> None:
    """Level-triggered knotes repeat."""
    ours, peer = r.pair()
    r.change(1, 2)
    r.wait("idle", ordered=True)
    r.wait("idle again", ordered=True)
    peer.send(b"12345")
    r.wait("peer wrote 5")
    r.wait("again, unread")
    r.recv(ours)
    r.wait("after read all")


@replays_pair("peer shutdown(SHUT_WR) with 5 unread")
def peer_shut_wr(r: Replay) -> None:
    """EOF comes with the number of unread bytes, and stays."""
    ours, peer = r.pair()
    is_tcp = ours.family == socket.AF_INET
    r.register(ours, READ, 1)
    r.register(ours, WRITE, 2)
    peer.send(b"12345")
    peer.shutdown(socket.SHUT_WR)
    r.wait("shut_wr")
    ours.recv(5)
    r.wait("drained")
    r.recv(ours)
    r.wait("after read EOF")
    r.send(ours)
    r.wait("after write to half closed")
    peer.recv(1)
    peer.close()
    r.wait("peer close after its shut_wr")
    r.send(ours)
    r.wait("after write to closed peer")
    if is_tcp:
        r.so_error(ours, linux="Broken pipe", because="tcp_reset() in CLOSE_WAIT sets EPIPE")
    else:
        r.so_error(ours)
    r.wait("after SO_ERROR")


@replays_pair("peer close with 5 bytes for us unread")
def peer_close(r: Replay) -> None:
    """A TCP socket learns from its next send that the peer has gone."""
    ours, peer = r.pair()
    is_tcp = ours.family == socket.AF_INET
    r.change(1, 2)
    peer.send(b"12345")
    peer.close()
    r.wait("peer closed")
    ours.recv(5)
    r.wait("drained")
    r.send(ours)
    r.wait("after write")
    if is_tcp:
        r.so_error(ours, linux="Broken pipe", because="tcp_reset() in CLOSE_WAIT sets EPIPE")
    else:
        r.so_error(ours)
    r.recv(ours)


@replays("socketpair peer closes while OUR 5 bytes are unread by it (TCP: RST)")
def peer_close_unread(r: Replay) -> None:
    """No error in fflags, though Linux has one pending for recv()."""
    ours, peer = r.pair()
    r.change(1, 2)
    ours.send(b"12345")
    peer.close()
    r.wait("peer closed")
    r.wait("again")
    r.recv(
        ours,
        linux=f"recv=-1 errno={RESET}",
        because="unix_release_sock() resets the peer when data is unread",
    )
    r.wait("after recv")
    r.recv(ours)
    r.send(ours)
    r.so_error(ours)
    r.wait("after SO_ERROR")


@replays("tcp peer closes while OUR 5 bytes are unread by it (TCP: RST)")
def tcp_peer_close_unread(r: Replay) -> None:
    """Linux resets at once, FreeBSD on the next send."""
    why = "Linux resets a connection which is closed with data unread (RFC 2525, 2.17)"
    ours, peer = r.pair()
    r.change(1, 2)
    ours.send(b"12345")
    peer.close()
    reset = [entry("WRITE", 5, "EOF", 2, error=RESET), entry("READ", 5, "EOF", 1, error=RESET)]
    ended = [entry("WRITE", 5, "EOF", 2), entry("READ", 5, "EOF", 1)]
    r.wait("peer closed", linux=reset, because=why)
    r.wait("again", linux=reset, because=why)
    r.recv(ours, linux=f"recv=-1 errno={RESET}", because=why)
    r.wait("after recv", linux=ended, because=why)
    r.recv(ours)
    r.send(ours, linux="send=-1 errno=Broken pipe", because=why)
    r.so_error(ours, linux="No error: 0", because=why)
    r.wait("after SO_ERROR")


@replays_pair("our own shutdown(SHUT_WR) / (SHUT_RD)")
def own_shutdown(r: Replay) -> None:
    """Each side's EOF comes with its own shutdown."""
    ours, _ = r.pair()
    r.change(1, 2)
    ours.shutdown(socket.SHUT_WR)
    r.wait("own SHUT_WR")
    ours.shutdown(socket.SHUT_RD)
    r.wait("own SHUT_RD too")


@replays_pair("register after peer already closed")
def register_late(r: Replay) -> None:
    """What is true already fires once under EV_CLEAR."""
    _, peer = r.pair()
    peer.close()
    r.change(1, 2)
    r.wait("first")
    r.wait("second")


@replays_pair("EV_CLEAR")
def clear(r: Replay) -> None:
    """Arrivals fire, reading does not, re-adding does."""
    ours, peer = r.pair()
    r.change(1, 2)
    r.wait("first")
    r.wait("second")
    peer.send(b"123")
    r.wait("peer wrote 3")
    r.wait("unread")
    peer.send(b"45")
    r.wait("peer wrote 2 more")
    r.wait("unread")
    ours.recv(1)
    r.wait("read 1 of 5: edge?")
    r.recv(ours)
    r.wait("read rest")
    r.change(1)
    r.wait("re-add, no data")
    peer.send(b"1")
    r.wait("peer wrote 1")
    r.change(11)
    r.wait("re-add with unread data: fires again?")
    r.change(22)
    r.wait("re-add WRITE while writable: fires again?")
    r.recv(ours)
    filled = fill(ours)
    r.passes("filled", because=BUFFERS)
    r.wait("filled")
    peer.recv(1000)
    r.wait(
        "peer read 1000",
        linux=[],
        because="a Linux socket is writable again when a good part of its buffer is free",
    )
    drain(peer, filled - 1000)
    r.wait("peer drained all")
    r.wait("again")
    peer.close()
    r.wait("peer closed")
    r.wait("again")


@replays_pair("level WRITE on a filled buffer")
def level_filled(r: Replay) -> None:
    """A full buffer is silent until the peer reads."""
    ours, peer = r.pair()
    r.change(2)
    filled = fill(ours)
    r.passes("filled", because=BUFFERS)
    r.wait("filled")
    drain(peer, filled)
    r.wait("peer drained")


@replays_pair("EV_ONESHOT")
def oneshot(r: Replay) -> None:
    """The knote is gone after its event."""
    r.pair()
    r.change(2)
    r.wait("first")
    r.wait("second")
    r.change(0, 0)


@replays_pair("EV_DISPATCH")
def dispatch(r: Replay) -> None:
    """The knote is disabled after its event, and stays so under EV_ADD."""
    r.pair()
    r.change(2)
    r.wait("first")
    r.wait("second")
    r.change(3)
    r.wait("EV_ENABLE only (udata 3)")
    r.wait("again (is it still DISPATCH?)")
    r.change(3)
    r.wait("EV_ENABLE|EV_DISPATCH")
    r.wait("again")
    r.change(3)
    r.wait("EV_ADD only on a disabled knote: re-enables?")
    r.change(0)


@replays_pair("EV_DISABLE/EV_ENABLE, EV_ADD|EV_DISABLE")
def disable(r: Replay) -> None:
    """A disabled knote is silent; enabling overwrites its udata."""
    r.pair()
    r.change(2)
    r.wait("added disabled")
    r.change(0)
    r.wait("enabled (udata passed 0)")
    r.change(0)
    r.wait("disabled")


@replays_pair("NOTE_LOWAT=4 on READ")
def lowat(r: Replay) -> None:
    """Fewer bytes than the low-water mark are no event."""
    _, peer = r.pair()
    r.change(1)
    peer.send(b"123")
    r.wait("3 bytes")
    peer.send(b"4")
    r.wait("4 bytes")


@replays("EV_CLEAR READ: data, then peer closes before we read: separate edges?")
def data_then_close(r: Replay) -> None:
    """Data and EOF are two events."""
    ours, peer = r.pair()
    r.change(1)
    peer.send(b"1")
    r.wait("1 byte pending")
    peer.close()
    r.wait("peer closed")
    r.wait("again")
    r.recv(ours)
    r.wait("after reading the byte")
    r.recv(ours)
    r.wait("after reading EOF")


@replays("EV_CLEAR READ|WRITE: SHUT_WR by peer then close by peer: one or two edges? (tcp)")
def shut_then_close_tcp(r: Replay) -> None:
    """The close after a SHUT_WR shows only in the reset."""
    ours, peer = r.pair()
    r.change(1, 2)
    r.wait("first")
    peer.shutdown(socket.SHUT_WR)
    r.wait("peer SHUT_WR")
    r.wait("again")
    peer.close()
    r.wait("peer close")
    r.send(ours)
    r.wait("after write -> RST")
    r.wait("again")
    r.recv(
        ours,
        linux="recv=0",
        because="tcp_recvmsg() sees the end of the stream before the error",
    )


@replays("same with socketpair")
def shut_then_close(r: Replay) -> None:
    """The close after a SHUT_WR ends the other direction too."""
    _, peer = r.pair()
    r.change(1, 2)
    r.wait("first")
    peer.shutdown(socket.SHUT_WR)
    r.wait("peer SHUT_WR")
    r.wait("again")
    peer.close()
    r.wait(
        "peer close",
        linux=[entry("WRITE", 6, "CLEAR|EOF", 2)],
        because="the reader saw its end already, and an edge does not say which side it is for",
    )
    r.wait("again")


@replays("peer shutdown(SHUT_RD)")
def peer_shut_rd(r: Replay) -> None:
    """A socketpair's writer learns of it, TCP's does not."""
    r.saw("socketpair")
    ours, peer = r.pair(6, "unix")
    r.change(2)
    peer.shutdown(socket.SHUT_RD)
    r.wait("peer SHUT_RD")
    r.send(ours)
    r.wait("after write")
    r.saw("tcp")
    r.fresh_queue()
    ours, peer = r.pair(7, "tcp")
    r.change(2)
    peer.shutdown(socket.SHUT_RD)
    r.wait("peer SHUT_RD")
    r.send(ours)
    r.wait("after write")


@replays("own shutdown SHUT_RDWR, EV_CLEAR, tcp")
def own_shut_rdwr(r: Replay) -> None:
    """Both filters end, once."""
    ours, _ = r.pair()
    r.change(1, 2)
    r.wait("first")
    ours.shutdown(socket.SHUT_RDWR)
    r.wait("after")
    r.wait("again")


@replays("TCP RST by SO_LINGER 0 close")
def reset(r: Replay) -> None:
    """Both filters end, with ECONNRESET and the unread bytes."""
    ours, peer = r.pair()
    r.change(1, 2)
    peer.send(b"123")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    peer.close()
    r.wait("RST with 3 unread")
    r.recv(ours)
    r.wait("after recv")
    r.recv(ours)
    r.so_error(ours)


@replays("TCP out-of-band byte")
def out_of_band(r: Replay) -> None:
    """An out-of-band byte is no READ event."""
    _, peer = r.pair()
    r.change(1)
    r.saw(f"send OOB={peer.send(b'!', socket.MSG_OOB)}")
    r.wait("oob")


@replays("OOB with SO_OOBINLINE, level and EV_CLEAR")
def out_of_band_inline(r: Replay) -> None:
    """With SO_OOBINLINE it is."""
    ours, peer = r.pair(kind="tcp")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    r.change(1)
    peer.send(b"!", socket.MSG_OOB)
    r.wait("oob")


@replays("READ and WRITE of one fd both ready at once, one kevent slot each?")
def one_slot_each(r: Replay) -> None:
    """Each takes a slot."""
    _, peer = r.pair()
    r.change(1, 1)
    peer.send(b"1")
    r.wait("max 1", 1, ordered=True)
    r.wait("max 1", 1, ordered=True)
    r.wait("max 1", 1)


@replays("level event ready then consumed before wait")
def consumed(r: Replay) -> None:
    """What no longer holds when it is asked for is not reported."""
    ours, peer = r.pair()
    r.change(1)
    peer.send(b"1")
    ours.recv(1)
    r.wait("level")
    r.delete(ours, READ)
    r.change(1)
    peer.send(b"1")
    ours.recv(1)
    r.wait("EV_CLEAR")


@replays("EV_DELETE drops an already pending event")
def delete_pending(r: Replay) -> None:
    """No event after the deletion."""
    _, peer = r.pair()
    r.change(1)
    peer.send(b"1")
    r.change(1)
    r.wait("after delete")


@replays("order of events: registration order a..c, activity order c,b,a")
def activity_order(r: Replay) -> None:
    """Events come in the order of activity."""
    peers = [r.pair(ident)[1] for ident in (8, 10, 12)]
    r.change(0, 2, 4)
    for peer in reversed(peers):
        peer.send(b"1")
    r.wait("x", ordered=True)


@replays("eventlist smaller than ready set: rotation")
def rotation(r: Replay) -> None:
    """Level-triggered knotes take turns."""
    for ident in (8, 10, 12):
        r.pair(ident)
    r.change(0, 2, 4)
    for room in (1, 1, 1, 1, 2, 2):
        r.wait(f"max {room}", room, ordered=True)


@replays("many registrations")
def many(r: Replay) -> None:
    """A thousand ready knotes come in one call."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    r.stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
    socks = [r.keep(sock) for _ in range(500) for sock in socket.socketpair()]
    for sock in socks:
        r.register(sock, WRITE, 1)
    got = r.system.kevent(r.kq, room=2000)
    r.saw(f"registered 1000, one kevent call returned {len(got)}", prefix=True)
    assert {event.ident for event in got} == {sock.fileno() for sock in socks}
