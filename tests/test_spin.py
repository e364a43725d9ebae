"""The warning of a Poll that spins: in development mode, once, and never of a busy program."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, socket
from pollster import Interest, Poll, Token, Waker
from pollster.selectors import PollsterSelector

R, W = Interest.READABLE, Interest.WRITABLE
POLLS = 25_000
poll = Poll(backend={backend!r})
ours, peer = socket.socketpair()
reader, writer = os.pipe()
{body}
poll.close()
for end in (ours, peer):
    end.close()
"""
UNREAD = """
peer.send(b"x")
poll.registry.register(ours, Token(5), R)
for _ in range(POLLS):
    assert [event.token for event in poll.poll(timeout=10)] == [5]
"""
SPINS = {
    "unread data": UNREAD,
    "an end that nobody sees": UNREAD.replace('peer.send(b"x")', "peer.close()"),
    "unread data, and a busy source beside it": """
peer.send(b"x")
poll.registry.register(ours, Token(5), R)
poll.poll(timeout=10)
poll.registry.register(writer, Token(6), W)
for _ in range(POLLS):
    poll.poll(timeout=10)
""",
}
GOOD = {
    "all is read": """
poll.registry.register(ours, Token(5), R)
for _ in range(POLLS):
    peer.send(b"x")
    poll.poll(timeout=10)
    ours.recv(1)
""",
    "a part is read, and it never ends": """
peer.send(b"x" * 1000)
poll.registry.register(ours, Token(5), R)
for _ in range(POLLS):
    poll.poll(timeout=10)
    ours.recv(10)
    peer.send(b"x" * 10)
""",
    "something is written each time": """
poll.registry.register(ours, Token(5), W)
for _ in range(POLLS):
    poll.poll(timeout=10)
    ours.send(b"x")
    peer.recv(1)
""",
    "something new is registered now and then": """
peer.send(b"x")
poll.registry.register(ours, Token(5), R)
for turn in range(POLLS):
    poll.poll(timeout=10)
    if turn % 5000 == 0:
        poll.registry.register(writer, Token(6), R)
        poll.registry.deregister(writer)
""",
    "it is not ready": """
poll.registry.register(ours, Token(5), R)
for _ in range(POLLS):
    poll.poll(timeout=0)
""",
    "a waker is woken each time": """
waker = Waker(poll.registry, Token(1))
for _ in range(POLLS):
    waker.wake()
    poll.poll(timeout=10)
""",
}
WARNING = "Token(5) has been ready for 10,000 polls and nothing was read: fd "


def run(backend: str, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(backend=backend, body=body)
    command = [sys.executable, *options, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", SPINS)
def test_a_poll_that_spins_is_told_of_once(backend, name) -> None:
    done = run(backend, SPINS[name], "-X", "dev")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ResourceWarning: " + WARNING) == 1
    assert done.stderr.count("ResourceWarning") == 1
    is_over = "it is at its end, which is told until it is deregistered" in done.stderr
    assert is_over is (name == "an end that nobody sees")


@pytest.mark.parametrize("name", GOOD)
def test_a_busy_program_is_not_told_of(backend, name) -> None:
    done = run(backend, GOOD[name], "-X", "dev")
    assert (done.returncode, done.stderr) == (0, "")


def test_without_development_mode_nobody_counts(backend) -> None:
    body = UNREAD + "import sys; assert 'pollster._spin' not in sys.modules"
    done = run(backend, body, "-W", "always")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_selector_is_told_of_too(backend) -> None:
    body = """
peer.send(b"x")
with PollsterSelector(backend=poll.backend) as selector:
    selector.register(ours, 1)
    for _ in range(POLLS):
        assert selector.select(10)
"""
    done = run(backend, body, "-X", "dev")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has been ready for 10,000 polls and nothing was read") == 1


def test_as_an_error_it_loses_no_event(backend) -> None:
    body = """
peer.send(b"x")
poll.registry.register(ours, Token(5), R)
poll.poll(timeout=10)
polls = 1
try:
    while polls < POLLS:
        poll.poll(timeout=10)
        polls += 1
except ResourceWarning:
    print(polls)
print(len(poll.poll(timeout=10)), poll.registry.find(ours).armed)
"""
    done = run(backend, body, "-X", "dev", "-W", "error::ResourceWarning")
    assert done.stdout == "9999\n1 True\n", done.stderr
