"""Cases about change lists, numbers of descriptors, and queues as descriptors."""

from __future__ import annotations

import os
import select
import socket

from linux_kqueue import Filter, Flag
from replay import PATIENCE, Replay, flag_value
from scenario import replays

ADD, CLEAR, DELETE, RECEIPT = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.RECEIPT
READ, WRITE = Filter.READ, Filter.WRITE
NUMBERS = "numbers of descriptors"


def closed_number() -> int:
    """Returns a number that no descriptor has."""
    fd = os.open("/dev/null", os.O_RDONLY)
    os.close(fd)
    return fd + 500


@replays("kqueue fd flags")
def kqueue_flags(r: Replay) -> None:
    """No close-on-exec."""
    r.saw(f"kq fd=3 FD_CLOEXEC={0 if os.get_inheritable(r.kq) else 1}")
    r.passes("fstat", because="the descriptor is an epoll")
    r.passes("read(kq)", because="the descriptor is an epoll, whose read() gives EINVAL")


@replays("closed / negative / bad fd")
def bad(r: Replay) -> None:
    """Each wrong change has its errno."""
    ours, _ = r.pair(4)
    r.bind(99, closed_number())
    r.bind(0, 1 << 32)
    r.change(1, 1, 1, 1)
    r.change(1, kq=ours.fileno())
    r.change(*[1] * 9)


def two_sockets(r: Replay) -> None:
    """Binds 4 and 6 to sockets, 99 to nothing."""
    r.pair(4)
    r.pair(6)
    r.bind(99, closed_number())


MIXED = [(WRITE, 4, ADD, 1), (READ, 99, ADD, 2), (WRITE, 6, ADD, 3)]


@replays("changelist [good, bad fd, good], eventlist size 0")
def mixed_no_room(r: Replay) -> None:
    """Changes stop at an error that has no room."""
    two_sockets(r)
    r.call(MIXED, 0)
    r.wait("which got registered")


@replays("same, eventlist size 1")
def mixed_room(r: Replay) -> None:
    """With room for the error all changes are applied."""
    two_sockets(r)
    r.call(MIXED, 1)
    r.wait("which got registered")


@replays("same, eventlist size 8 (are ready events returned in the same call as errors?)")
def mixed_much_room(r: Replay) -> None:
    """Errors and events do not come together."""
    two_sockets(r)
    r.call(MIXED, 8)
    r.wait("which got registered")


@replays("two bad, eventlist size 1: [good, bad, bad, good]")
def two_bad(r: Replay) -> None:
    """The second error has no room."""
    two_sockets(r)
    r.call([MIXED[0], MIXED[1], MIXED[1], MIXED[2]], 1)
    r.wait("which got registered")


@replays("in-place: changelist == eventlist, [good, bad], size 2")
def in_place(r: Replay) -> None:
    """One array may be both lists."""
    two_sockets(r)
    r.call(MIXED[:2], 2, in_place=True)


@replays("all good, eventlist 8: changes applied, then ready events in one call")
def all_good(r: Replay) -> None:
    """Without errors the same call returns events."""
    two_sockets(r)
    r.call([(WRITE, 4, ADD, 1), (WRITE, 6, ADD, 2)], 8)


RECEIPTS = [
    (WRITE, 4, ADD | RECEIPT, 1),
    (READ, 99, ADD | RECEIPT, 2),
    (WRITE, 6, ADD | CLEAR | RECEIPT, 3),
]


@replays("EV_RECEIPT x3 [good, bad, good], eventlist 8")
def receipts(r: Replay) -> None:
    """One entry a change."""
    two_sockets(r)
    r.call(RECEIPTS, 8)
    r.wait("then wait (does RECEIPT stick in flags?)")


@replays("EV_RECEIPT x3, eventlist 2")
def receipts_no_room(r: Replay) -> None:
    """With too little room the count is zero."""
    two_sockets(r)
    r.call(RECEIPTS, 2)
    r.wait("which registered")


@replays("EV_RECEIPT x1, eventlist 0")
def receipt_no_room(r: Replay) -> None:
    """Without room a receipt is no error."""
    two_sockets(r)
    r.call(RECEIPTS[:1], 0)
    r.wait("registered?")


@replays("EV_RECEIPT|EV_DELETE of a never-added filter")
def receipt_delete(r: Replay) -> None:
    """A receipt carries the errno."""
    two_sockets(r)
    r.call([(READ, 4, DELETE | RECEIPT, 9)], 8)


@replays("re-add with another udata; EV_CLEAR -> level by re-add")
def re_add(r: Replay) -> None:
    """Adding again changes udata, not the flags."""
    r.pair()
    r.change(10)
    r.wait("udata 10")
    r.wait("again")
    r.change(20)
    r.wait("re-added udata 20 without CLEAR")
    r.wait("again (level now?)")
    r.wait("again")
    r.change(30)
    r.wait("re-added ONESHOT")
    r.wait("again")


@replays("EV_ADD twice in one changelist (level, then EV_CLEAR), other udata")
def add_twice(r: Replay) -> None:
    """The first flags win, the last udata does."""
    r.pair(6)
    r.call([(WRITE, 6, ADD, 1), (WRITE, 6, ADD | CLEAR, 2)], 8)
    r.wait("again: first flags win?")


@replays("EV_DELETE then EV_ADD in one changelist to switch level->EV_CLEAR")
def delete_add(r: Replay) -> None:
    """Deleting and adding changes the flags."""
    r.pair(6)
    r.change(1)
    r.call([(WRITE, 6, DELETE, 1), (WRITE, 6, ADD | CLEAR, 2)], 0)
    r.wait("1")
    r.wait("2")


@replays("udata on EV_ENABLE/EV_DISABLE/flags 0 change")
def udata(r: Replay) -> None:
    """Every change overwrites udata."""
    r.pair()
    r.change(1, 9)
    r.wait("flags=0 udata=9")
    r.saw(f"EV_KEEPUDATA={flag_value(['KEEPUDATA']):#x}")
    r.change(55)
    r.wait("EV_ADD|EV_KEEPUDATA udata=55")


@replays("fd closed while registered")
def closed(r: Replay) -> None:
    """A closed number's knotes are gone."""
    ours, _ = r.pair()
    r.change(2)
    ours.close()
    r.wait("after close")
    r.change(0)


@replays("dup: register a, dup a->e, close a; event still reported?")
def closed_with_duplicate(r: Replay) -> None:
    """The number decides, not the open file."""
    ours, _ = r.pair()
    r.change(1)
    duplicate = r.keep(ours.dup())
    r.passes("x=8 dup=10", because=NUMBERS)
    r.wait("both open")
    ours.close()
    r.wait("orig closed")
    r.bind(10, duplicate)
    r.change(2)
    r.wait("dup registered")


@replays("dup: both registered, both report")
def duplicates(r: Replay) -> None:
    """Two numbers of one open file are two knotes."""
    ours, peer = r.pair()
    r.bind(10, r.keep(ours.dup()))
    r.change(1, 2)
    peer.send(b"1")
    r.wait("peer wrote")


@replays("fd number reuse after close: old registration gone?")
def reuse(r: Replay) -> None:
    """A new descriptor inherits no knote from its number."""
    ours, peer = r.pair()
    number = ours.fileno()
    r.change(1)
    peer.send(b"1")
    ours.close()
    new, other = map(r.keep, socket.socketpair())
    if new.fileno() != number:
        os.dup2(new.fileno(), r.keep_fd(number))
    r.passes("old=8 new=8", because=NUMBERS)
    other.send(b"1")
    r.wait("new fd has data")


@replays("dup2 over a registered fd")
def dup2(r: Replay) -> None:
    """dup2() closes what the number meant."""
    ours, _ = r.pair()
    r.change(1)
    new, other = map(r.keep, socket.socketpair())
    os.dup2(new.fileno(), ours.fileno())
    other.send(b"1")
    r.wait("after dup2")


@replays("close in pending queue: event ready, then fd closed before wait")
def closed_pending(r: Replay) -> None:
    """A queued knote goes too."""
    ours, peer = r.pair()
    r.change(1)
    peer.send(b"1")
    ours.close()
    r.wait("closed")


@replays("same fd in two kqueues")
def two_queues(r: Replay) -> None:
    """Each has a knote of its own."""
    r.pair()
    other = r.queue()
    r.change(1)
    r.change(2, kq=other)
    r.wait("kq1")
    r.wait("kq2", kq=other)


@replays("nesting: kq2 registered in kq")
def nesting(r: Replay) -> None:
    """A queue is readable while knotes are queued, and `data` counts them."""
    inner = r.queue()
    r.bind(3, r.kq)
    r.bind(8, inner)
    r.pair(4)
    r.pair(6)
    r.change(5)
    r.wait("inner empty")
    r.change(2, kq=inner)
    r.wait("inner ready")
    r.change(2, kq=inner)
    r.wait("inner 2 ready")
    r.wait("inner itself", kq=inner)
    r.change(2, 2, kq=inner)
    r.wait("inner emptied")
    r.change(5, 5)
    r.change(5, kq=inner)
    r.delete(inner, READ)
    r.delete(r.kq, READ, kq=inner)
    r.change(5)
    r.change(7, 7, kq=inner)
    r.wait("inner triggered, outer EV_CLEAR")
    r.wait("again")


@replays("dup(kq)")
def duplicate_queue(r: Replay) -> None:
    """A duplicate is the same queue."""
    ours, _ = r.pair()
    r.register(ours, WRITE, 9)
    r.passes("dup=8", because=NUMBERS)
    r.wait("via dup", kq=r.keep_fd(os.dup(r.kq)))


@replays("poll()/select() on a kqueue fd")
def polled(r: Replay) -> None:
    """A queue can be polled."""
    _, peer = r.pair(6)
    r.change(1)
    poll = select.poll()
    poll.register(r.kq, select.POLLIN)
    for label in ("empty", "ready"):
        if label == "ready":
            peer.send(b"1")
            assert select.select([r.kq], [], [], PATIENCE)[0] == [r.kq]
        got = poll.poll(0)
        revents = got[0][1] if got else 0
        r.saw(f"{label}: poll={len(got)} revents={revents:#x}", prefix=True)
