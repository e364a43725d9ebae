"""What the pictures show, as it happened: each function does something with a Poll and notes it.

Owns the scenarios. A trace is the same on every run and on both kernels, but for `raw`, which is
what one kernel said, and for times.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pollster import Event, Events, Interest, Poll, Token, Trigger
from pollster.demo.server import DelayServer

LONG = 30.0  # seconds: a limit, not a delay
PREDICATES = ("readable", "writable", "read_closed", "write_closed", "error")

Trace = list[dict[str, Any]]


def told(event: Event) -> str:
    """Names an event's predicates."""
    return " ".join(name for name in PREDICATES if getattr(event, f"is_{name}"))


def raw(events: Events) -> list[str]:
    """Returns what the kernel said, without the numbers that differ from run to run."""
    said = []
    for entry in events.raw():
        parts = [entry.names.get(name, "0") for name in ("events", "filter", "flags")]
        said.append(" ".join(part for part in parts if part != "0"))
    return sorted(said)


def life(backend: str) -> Trace:
    """The states of a one-shot registration, from `register` to `deregister`."""
    ours, peer = socket.socketpair()
    trace: Trace = []
    with Poll(backend=backend) as poll, ours, peer:
        registry = poll.registry

        def note(what: str, *, polled: bool = False) -> None:
            found = [told(event) for event in poll.poll(timeout=0)] if polled else []
            states = [(one.armed, one.paused) for one in registry]
            state = "not registered"
            if states:
                armed, paused = states[0]
                state = "paused" if paused else "armed" if armed else "not armed"
            trace.append({"what": what, "state": state, "told": "".join(found)})

        note("")
        registry.register(ours, Token(1), Interest.READABLE, Trigger.ONESHOT)
        note("register(ONESHOT)")
        peer.send(b"hello")
        note("data comes, poll()", polled=True)
        peer.send(b"more")
        note("more comes, poll()", polled=True)
        registry.resume(ours)
        note("resume(), or reregister()")
        note("poll()", polled=True)
        registry.reregister(ours, Token(1), Interest.READABLE, Trigger.ONESHOT)
        registry.pause(ours)
        note("pause()")
        note("poll()", polled=True)
        registry.resume(ours)
        note("resume()")
        registry.deregister(ours)
        note("deregister()")
    return trace


TRIGGER_STEPS = (
    "poll",
    "send 3",
    "poll",
    "poll",
    "send 2",
    "poll",
    "poll",
    "read 2",
    "poll",
    "read 3",
    "poll",
    "reregister",
    "send 4",
    "poll",
    "poll",
    "reregister",
    "poll",
    "poll",
)


def triggers(backend: str) -> Trace:
    """The same steps with each trigger: what is in the buffer, and whether a poll tells of it."""
    trace: Trace = [{"what": step, "buffer": 0, "told": {}} for step in TRIGGER_STEPS]
    for trigger in Trigger:
        ours, peer = socket.socketpair()
        buffered = 0
        with Poll(backend=backend) as poll, ours, peer:
            poll.registry.register(ours, Token(1), Interest.READABLE, trigger)
            for step in trace:
                verb, _, count = step["what"].partition(" ")
                if verb == "send":
                    buffered += peer.send(bytes(int(count)))
                elif verb == "read":
                    buffered -= len(ours.recv(int(count)))
                elif verb == "reregister":
                    poll.registry.reregister(ours, Token(1), Interest.READABLE, trigger)
                else:
                    step["told"][trigger.name] = bool(poll.poll(timeout=0))
                step["buffer"] = buffered
    return trace


def half_close(backend: str) -> Trace:
    """A peer that ends its direction, and then goes: what the kernel says, and the Event."""
    ours, peer = socket.socketpair()
    trace: Trace = []
    with Poll(backend=backend) as poll, ours, peer:
        poll.registry.register(ours, Token(1), Interest.READABLE | Interest.WRITABLE)

        def note(what: str) -> None:
            events = poll.poll(timeout=LONG)
            trace.append(
                {
                    "what": what,
                    "raw": raw(events),
                    "told": " ".join(told(event) for event in events),
                }
            )

        note("connected")
        peer.send(b"hello")
        note("the peer sends 5 bytes")
        peer.shutdown(socket.SHUT_WR)
        note("the peer: shutdown(SHUT_WR)")
        ours.recv(5)
        note("we read the 5 bytes")
        peer.close()
        note("the peer closes")
    return trace


def layers(backend: str) -> Trace:
    """One event on its way from the peer's `send` to the loop."""
    ours, peer = socket.socketpair()
    with Poll(backend=backend) as poll, ours, peer:
        poll.registry.register(ours, Token(7), Interest.READABLE)
        peer.send(b"hello")
        events = poll.poll(timeout=LONG)
        [entry] = events.raw()
        mark = entry.fields["udata" if "udata" in entry.fields else "data"]
        event = events[0]
        received = ours.recv(100)
        return [
            {
                "raw": [entry.structure, *raw(events)],
                "mark": hex(mark),
                "told": repr(event),
                "token": int(event.token),
                "received": repr(received),
            }
        ]


def demo(backend: str) -> Trace:
    """The demo's five requests: who was answered, in their order, and when."""
    answered: Trace = []
    with DelayServer() as server, Poll(backend=backend) as poll:
        requests = {}
        begin = time.monotonic()
        for number in range(1, 6):
            sock = requests[number] = socket.create_connection((server.host, server.port))
            delay = (5 - number) * 200
            sock.sendall(f"GET /delay/{delay} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            poll.registry.register(sock, Token(number), Interest.READABLE, Trigger.ONESHOT)
        while len(answered) < 5:
            for event in poll.poll(timeout=LONG):
                after = round(time.monotonic() - begin, 2)
                answered.append({"told": int(event.token), "time": after})
        for sock in requests.values():
            sock.close()
    return answered


Order = tuple[Callable[[], str], "queue.SimpleQueue[str]"]


class Worker:
    """A thread that does what it is asked to, one thing at a time."""

    def __init__(self) -> None:
        self._orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while order := self._orders.get():
            do, result = order
            result.put(do())

    def ask(self, do: Callable[[], str]) -> str:
        """Has the thread do something; returns what came of it."""
        result: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._orders.put((do, result))
        return result.get(timeout=LONG)

    def stop(self) -> None:
        """Ends the thread."""
        self._orders.put(None)
        self._thread.join()


def two_threads(backend: str, trigger: Trigger) -> Trace:
    """Two threads, one source and one trigger: who is told of what."""
    trace: Trace = []
    ours, peer = socket.socketpair()
    workers = {name: Worker() for name in "AB"}
    batches = {name: Events(capacity=1) for name in workers}
    with Poll(backend=backend) as poll, ours, peer:
        poll.registry.register(ours, Token(1), Interest.READABLE, trigger)

        def resume() -> str:
            poll.registry.resume(ours)
            return ""

        def ask(name: str, what: str) -> None:
            does: dict[str, Callable[[], str]] = {
                "poll()": lambda: " ".join(map(told, poll.poll(batches[name], timeout=0))),
                "recv()": lambda: ours.recv(100).decode(),
                "resume()": resume,
            }
            said = workers[name].ask(does[what])
            trace.append({"trigger": trigger.name, "thread": name, "what": what, "told": said})

        peer.send(b"one")
        ask("A", "poll()")
        ask("B", "poll()")
        ask("A", "recv()")
        peer.send(b"two")
        ask("B", "poll()")
        if trigger is Trigger.ONESHOT:
            ask("A", "resume()")
            ask("B", "poll()")
        ask("B", "recv()")
    for worker in workers.values():
        worker.stop()
    return trace


def threads(backend: str) -> Trace:
    """The same with LEVEL and with ONESHOT."""
    return two_threads(backend, Trigger.LEVEL) + two_threads(backend, Trigger.ONESHOT)


RUNS: dict[str, Callable[[str], Trace]] = {
    "life": life,
    "triggers": triggers,
    "half-close": half_close,
    "layers": layers,
    "demo": demo,
    "threads": threads,
}
