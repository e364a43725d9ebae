"""What `test_copies.py` does with each copy of pollster, in whichever interpreter."""

import os
import signal
import socket
import sys
from datetime import timedelta
from typing import Any


def purge() -> None:
    """Has the next import make another copy."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pollster"]:
        del sys.modules[name]


def check(pollster: Any, backend: str) -> None:
    """Uses what there is, plainly and not, and meets errors."""
    readable, writable = pollster.Interest.READABLE, pollster.Interest.WRITABLE
    ours, peer = socket.socketpair()
    with ours, peer, pollster.Poll(backend=backend) as poll:
        registry, events = poll.registry, pollster.Events(8)
        registry.register(ours, pollster.Token(1), readable)
        registry.register(peer, token=2, interest=writable, trigger=pollster.Trigger.EDGE)
        peer.send(b"x")
        found = list(poll.poll(events, timeout=5))
        assert sorted(event.token for event in found) == [1, 2], found
        assert {type(event) for event in found} == {pollster.Event}
        assert {type(event.token) for event in found} == {pollster.Token}
        assert pollster.Event(1, is_readable=True) in found
        registry.reregister(peer, 3, readable | writable)
        registry.deregister(ours)
        try:
            registry.deregister(ours)
        except pollster.NotRegisteredError as error:
            assert "use register() first" in str(error), error
        else:
            raise AssertionError("it is not registered")
        with registry.batch() as changes:
            changes.deregister(peer)
            changes.register(ours, 4, readable)
        timers = [pollster.Timer.at(0), pollster.Timer.after(timedelta(0)), pollster.Timer()]
        timers[2].set_every(timedelta(hours=1))
        for timer in timers:
            registry.register(timer, 5, readable)
        assert len(poll.poll(timeout=timedelta(seconds=5))) == 3
        pollster.Waker(registry, 6).wake()
        assert 6 in [event.token for event in poll.poll(events)]
        with pollster.Signals(signal.SIGUSR1, backend=backend) as signals:
            registry.register(signals, 7, readable)
            os.kill(os.getpid(), signal.SIGUSR1)
            while 7 not in [event.token for event in poll.poll()]:
                continue
    try:
        poll.poll()
    except ValueError as error:
        assert "this Poll is closed" in str(error), error
    else:
        raise AssertionError("it is closed")
