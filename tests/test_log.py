"""Logging: what a Poll tells the channel `pollster`, who asks for it, and what handlers may do."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from children import in_child
from sandboxes import EPOLL_PWAIT2, WITHOUT_A_SYSTEM_CALL

import pollster.backend
from pollster import (
    BatchError,
    Interest,
    NotRegisteredError,
    PathWatch,
    Poll,
    Process,
    Signals,
    Timer,
    Token,
    Trigger,
    Waker,
)
from pollster.selectors import PollsterSelector

from .conftest import WAIT, no_more_descriptors

R, W = Interest.READABLE, Interest.WRITABLE
CHANNEL = logging.getLogger("pollster")


class Lines(logging.Handler):
    """Keeps what it is told, without the name of the Poll."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.DEBUG
        self.records.append(record)
        self.said.append(record.getMessage().partition(": ")[2])

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return said


@pytest.fixture(autouse=True)
def lines() -> Iterator[Lines]:
    """A handler of the channel; the channel is as it was afterwards."""
    lines = Lines()
    before = CHANNEL.level, list(CHANNEL.handlers), CHANNEL.propagate
    CHANNEL.addHandler(lines)
    CHANNEL.propagate = False
    yield lines
    CHANNEL.setLevel(before[0])
    CHANNEL.handlers[:] = before[1]
    CHANNEL.propagate = before[2]


@pytest.fixture
def poll(backend: str, lines: Lines) -> Iterator[Poll]:
    with Poll(backend=backend, log=True) as poll:
        lines.take()
        yield poll


# What is told


def test_each_change_is_told_with_its_descriptor_its_token_and_its_poll(poll, fds, lines) -> None:
    _, writer = fds.pipe()
    registry = poll.registry
    registry.register(writer, Token(1), W, Trigger.ONESHOT)
    registry.reregister(writer, Token(2), W)
    registry.reregister(writer, Token(2), R | W, Trigger.EDGE)
    registry.pause(writer)
    registry.resume(writer)
    registry.deregister(writer)
    assert lines.take() == [
        f"registered fd {writer}, Token(1), WRITABLE, ONESHOT",
        f"reregistered fd {writer}, Token(2), WRITABLE, as before",
        f"reregistered fd {writer}, Token(2), READABLE|WRITABLE, EDGE",
        f"paused fd {writer}, Token(2)",
        f"resumed fd {writer}, Token(2)",
        f"deregistered fd {writer}, Token(2)",
    ]
    names = {record.getMessage().partition(":")[0] for record in lines.records[1:]}
    assert len(names) == 1
    assert f"logs as {names.pop()!r}" in repr(poll)


def test_a_change_that_is_refused_is_told_with_the_reason(poll, fds, lines) -> None:
    reader, _ = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    lines.take()
    with pytest.raises(OSError, match="already registered"):
        poll.registry.register(reader, Token(2), R)
    assert lines.take() == [f"could not register fd {reader}: File exists"]


def test_a_batch_is_told_when_it_is_made(poll, fds, lines) -> None:
    reader, writer = fds.pipe()
    changes = poll.registry.batch()
    changes.__enter__()
    changes.register(reader, Token(1), R)
    changes.register(writer, Token(2), W)
    changes.register(reader, Token(3), R)
    changes.pause(writer)
    changes.deregister(reader)
    assert lines.take() == []
    with pytest.raises(BatchError):
        changes.__exit__(None, None, None)
    assert lines.take() == [
        f"registered fd {reader}, Token(1), READABLE, LEVEL",
        f"registered fd {writer}, Token(2), WRITABLE, LEVEL",
        f"could not register fd {reader}: File exists",
        f"paused fd {writer}, Token(2)",
        f"deregistered fd {reader}, Token(1)",
    ]


def test_an_object_is_told_by_its_type_and_none_of_its_code_runs(poll, unix_pair, lines) -> None:
    class Source:
        def __init__(self, sock: socket.socket) -> None:
            self.sock = sock

        def fileno(self) -> int:
            return self.sock.fileno()

        def __repr__(self) -> str:
            raise ZeroDivisionError

    ours, peer = unix_pair
    source = Source(ours)
    poll.registry.register(source, Token(1), R)
    poll.registry.register(peer, Token(2), R)
    assert lines.take() == [
        f"registered fd {ours.fileno()} (Source), Token(1), READABLE, LEVEL",
        f"registered fd {peer.fileno()} (socket), Token(2), READABLE, LEVEL",
    ]


def test_timers_and_wakers_are_told(poll, lines) -> None:
    timer = Timer.after(10**6)
    poll.registry.register(timer, Token(1), R)
    named = f"{timer!r}, Token(1)"
    poll.registry.pause(timer)
    poll.registry.resume(timer)
    poll.registry.deregister(timer)
    poll.registry.register(timer, Token(1), R)
    timer.close()
    waker = Waker(poll.registry, Token(2))
    poll.registry.pause(waker)
    poll.registry.resume(waker)
    waker.close()
    waker.close()
    assert lines.take() == [
        f"registered {named}, READABLE, LEVEL",
        f"paused {named}",
        f"resumed {named}",
        f"deregistered {named}",
        f"registered {named}, READABLE, LEVEL",
        f"deregistered {named}",
        "registered a Waker, Token(2)",
        "paused a Waker, Token(2)",
        "resumed a Waker, Token(2)",
        "deregistered a Waker, Token(2)",
    ]


def test_a_timer_for_a_single_use_is_told_when_it_is_gone(poll, lines) -> None:
    poll.registry.register(Timer.after(0, once=True), Token(1), R)
    lines.take()
    assert len(poll.poll(timeout=WAIT)) == 1
    assert lines.take() == ["a timer with once=True, Token(1), is reported and registered no more"]


def watches(backend: str) -> list[Signals | Process | PathWatch]:
    return [
        Signals(signal.SIGUSR2, backend=backend),
        Process(os.getppid() or 1, backend=backend),
        PathWatch(os.path.dirname(__file__), backend=backend),
    ]


def test_signals_processes_and_paths_are_told(poll, lines) -> None:
    for watch in watches(poll.backend):
        with watch:
            poll.registry.register(watch, Token(1), R, Trigger.ONESHOT)
            poll.registry.reregister(watch, Token(2), R)
            poll.registry.pause(watch)
            poll.registry.resume(watch)
            poll.registry.deregister(watch)
            with pytest.raises(NotRegisteredError):
                poll.registry.deregister(watch)
            poll.registry.register(watch, Token(3), R)
        assert lines.take() == [
            f"registered {watch!r}, Token(1), READABLE, ONESHOT",
            f"reregistered {watch!r}, Token(2), READABLE, as before",
            f"paused {watch!r}, Token(2)",
            f"resumed {watch!r}, Token(2)",
            f"deregistered {watch!r}, Token(2)",
            f"could not deregister {watch!r}: No such file or directory",
            f"registered {watch!r}, Token(3), READABLE, LEVEL",
            f"deregistered {watch!r}, which is closed",
        ]


def test_opening_and_closing_is_told_once(backend, lines) -> None:
    poll = Poll(backend=backend, log=True)
    poll.close()
    poll.close()
    assert lines.take() == ["opened", "closed"]
    Poll(backend=backend, log=True)
    assert lines.take()[:1] == ["opened"]


def test_a_number_that_was_reused_is_told(poll, lines) -> None:
    first = os.pipe()
    poll.registry.register(first[0], Token(1), R)
    lines.take()
    for end in first:
        os.close(end)
    second = os.pipe()
    assert second == first
    poll.registry.register(second[0], Token(2), R)
    assert lines.take() == [
        f"fd {first[0]} was closed and is another file: what was registered is dropped",
        f"registered fd {first[0]}, Token(2), READABLE, LEVEL",
    ]
    for end in second:
        os.close(end)


def test_a_selector_tells_it_too(backend, fds, lines, monkeypatch) -> None:
    monkeypatch.setenv("POLLSTER_LOG", "1")
    _, writer = fds.pipe()
    with PollsterSelector(backend=backend) as selector:
        lines.take()
        selector.register(writer, 2)
        assert selector.select(0)
        selector.unregister(writer)
    said = lines.take()
    assert said[0].startswith(f"registered fd {writer}, Token(")
    assert said[1].startswith(f"deregistered fd {writer}, Token(")
    assert said[2:] == ["closed"]


# What a Poll came upon


def test_a_ghost_is_told(lines) -> None:
    if "epoll" not in pollster.backend.available():
        pytest.skip("only epoll goes on reporting what is closed")
    with Poll(backend="epoll", log=True) as poll:
        reader, writer = os.pipe()
        copy = os.dup(writer)
        poll.registry.register(writer, Token(7), W)
        os.close(writer)
        lines.take()
        for _ in range(10**6):
            if not poll.poll(timeout=0) and poll.stats().ghosts:
                break
        told = (
            f"a ghost: fd {writer}, Token(7), was closed and went on reporting; it is left behind"
        )
        assert lines.take() == [told]
        os.close(reader)
        os.close(copy)


def test_many_ghosts_are_told_in_short(lines) -> None:
    if "epoll" not in pollster.backend.available():
        pytest.skip("only epoll goes on reporting what is closed")
    with Poll(backend="epoll", log=True) as poll:
        reader, writer = os.pipe()
        copies = [os.dup(writer) for _ in range(20)]
        for token, copy in enumerate(copies):
            poll.registry.register(copy, Token(token), W)
            os.close(copy)
        lines.take()
        for _ in range(10**6):
            if poll.stats().ghosts == 20:
                break
            poll.poll(timeout=0)
        said = lines.take()
        assert len(said) == 17
        assert said[-1] == "and 4 more that there was no room to note: see Poll.stats()"
        os.close(reader)
        os.close(writer)


def test_what_can_t_be_parked_is_told(fds, lines) -> None:
    if "epoll" not in pollster.backend.available():
        pytest.skip("kqueue needs no descriptor for it")
    with Poll(backend="epoll", log=True) as poll:
        reader, _ = fds.pipe()
        poll.registry.register(reader, Token(1), R)
        lines.take()
        with no_more_descriptors():
            poll.registry.pause(reader)
    assert lines.take()[:2] == [
        f"no descriptor to park fd {reader}, Token(1), while it is paused: a hang-up ends one wait",
        f"paused fd {reader}, Token(1)",
    ]


def test_a_kernel_without_user_events_is_told(lines) -> None:
    lib = pollster.backend.load("kqueue").lib if "kqueue" in pollster.backend.available() else None
    if not hasattr(lib, "kqueue_misbehave"):
        pytest.skip("only the tests' own kqueue fails on demand")
    lib.kqueue_misbehave(b"no-user", 1)
    try:
        Poll(backend="kqueue", log=True).close()
    finally:
        lib.kqueue_misbehave(b"no-user", 0)
    pipes = "this kernel has no (more) EVFILT_USER: a pipe stands in for it"
    assert lines.take() == ["opened", pipes, "closed"]


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp(2) is Linux's")
def test_a_kernel_without_nanoseconds_is_told_once(backend) -> None:
    if backend != "epoll":
        pytest.skip("it is about what epoll's back end asks Linux for")
    program = WITHOUT_A_SYSTEM_CALL + (
        "import pollster\n"
        "for poll in [pollster.Poll(backend='epoll', log=True) for _ in range(2)]:\n"
        "    for _ in range(3):\n"
        "        poll.poll(timeout=0.001)\n"
    )
    command = [sys.executable, "-c", program, str(EPOLL_PWAIT2)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = "this kernel has no epoll_pwait2 for us: timeouts are rounded up to milliseconds"
    assert done.stderr.count(told) == 2


# Who asks for it


@pytest.mark.parametrize(
    ("log", "environment", "level", "is_told"),
    [
        (None, None, logging.WARNING, False),
        (None, "", logging.WARNING, False),
        (None, "0", logging.WARNING, False),
        (None, "1", logging.WARNING, True),
        (None, None, logging.DEBUG, True),
        (True, None, logging.WARNING, True),
        (True, "0", logging.WARNING, True),
        (False, "1", logging.DEBUG, False),
    ],
)
def test_who_asks_for_it(backend, lines, monkeypatch, log, environment, level, is_told) -> None:
    if environment is None:
        monkeypatch.delenv("POLLSTER_LOG", raising=False)
    else:
        monkeypatch.setenv("POLLSTER_LOG", environment)
    CHANNEL.setLevel(level)
    with Poll(backend=backend, log=log) as poll:
        assert ("logs as" in repr(poll)) is is_told
    assert bool(lines.take()) is is_told
    assert CHANNEL.level == level


def test_one_poll_that_is_asked_has_no_other_one_tell(backend, lines) -> None:
    with Poll(backend=backend, log=True), Poll(backend=backend) as other:
        assert "logs as" not in repr(other)
    assert lines.take() == ["opened", "closed"]


@pytest.mark.parametrize("log", [1, "1", object()])
def test_log_is_true_false_or_none(backend, log) -> None:
    with pytest.raises(TypeError, match="log must be True, False or None"):
        Poll(backend=backend, log=log)


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


def test_who_asks_sees_it_on_stderr_also_without_handlers(backend) -> None:
    done = run(f"from pollster import Poll; Poll(backend={backend!r}).close()", POLLSTER_LOG="1")
    assert done.stdout == ""
    assert done.stderr == f"Poll 1 ({backend}): opened\nPoll 1 ({backend}): closed\n"


def test_a_program_with_handlers_sees_it_once(backend) -> None:
    program = f"""
import logging
from pollster import Poll
first = Poll(backend={backend!r}, log=True)
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
first.close()
"""
    said = run(program).stderr.splitlines()
    assert said == [f"Poll 1 ({backend}): opened", f"pollster DEBUG Poll 1 ({backend}): closed"]


def test_logging_is_not_imported_where_nobody_asks(backend) -> None:
    program = f"""
import sys
from pollster import Poll
Poll(backend={backend!r}).close()
print("logging" in sys.modules, "pollster._log" in sys.modules, "pollster._spin" in sys.modules)
"""
    without = {name: value for name, value in os.environ.items() if name != "POLLSTER_LOG"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=120,
        env=without,
    )
    assert done.stdout == "False False False\n", done.stderr


# What handlers may do


class Calling(logging.Handler):
    """Calls something with each record."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def handle(self, record: logging.LogRecord) -> bool:  # past what catches errors
        self.act()
        return True


def test_a_handler_may_use_the_same_poll(poll, fds, lines) -> None:
    reader, writer = fds.pipe()
    other, _ = fds.pipe()
    told: list[int] = []

    def act() -> None:
        told.append(len(poll.registry))
        if other in poll.registry:
            poll.registry.deregister(other)
        else:
            poll.registry.register(other, Token(9), R)
        with poll.registry.batch() as changes:
            changes.pause(reader)
            changes.resume(reader)
        poll.poll(timeout=0)
        poll.stats()

    poll.registry.register(reader, Token(1), R)
    CHANNEL.addHandler(Calling(act))
    lines.take()
    poll.registry.reregister(reader, Token(2), R)
    with poll.registry.batch() as changes:
        changes.register(writer, Token(3), W)
        changes.reregister(reader, Token(4), R)
    assert told == [1, 3, 2]
    assert lines.take() == [
        f"reregistered fd {reader}, Token(2), READABLE, as before",
        f"registered fd {writer}, Token(3), WRITABLE, LEVEL",
        f"reregistered fd {reader}, Token(4), READABLE, as before",
    ]
    assert {one.token for one in poll.registry} == {3, 4, 9}
    assert [event.token for event in poll.poll(timeout=WAIT)] == [3]


def test_a_handler_that_closes_the_poll_harms_nothing(backend, fds, lines) -> None:
    reader, writer = fds.pipe()
    poll = Poll(backend=backend, log=True)
    CHANNEL.addHandler(Calling(poll.close))
    with poll.registry.batch() as changes:
        changes.register(reader, Token(1), R)
        changes.register(writer, Token(2), W)
    assert poll.closed
    assert poll.stats().registrations == 2


def test_an_error_of_a_handler_is_shown_and_the_change_is_made(poll, fds, capsys) -> None:
    reader, writer = fds.pipe()

    def fail() -> None:
        raise ZeroDivisionError("of the handler")

    CHANNEL.addHandler(Calling(fail))
    poll.registry.register(reader, Token(1), R)
    with poll.registry.batch() as changes:
        changes.register(writer, Token(2), W)
    timer = Timer.after(0, once=True)
    poll.registry.register(timer, Token(3), R)
    waker = Waker(poll.registry, Token(4))
    with Signals(signal.SIGUSR2, backend=poll.backend) as signals:
        poll.registry.register(signals, Token(5), R)
        assert {one.token for one in poll.registry} == {1, 2, 3, 4, 5}
    seen: set[int] = set()
    while seen != {2, 3}:
        batch = {int(event.token) for event in poll.poll(timeout=WAIT)}
        assert batch
        seen |= batch
    waker.close()
    poll.close()
    said = capsys.readouterr().err
    assert said.count("ZeroDivisionError: of the handler") == 9


def test_an_interrupt_comes_after_the_change(poll, fds) -> None:
    reader, _ = fds.pipe()

    def interrupt() -> None:
        raise KeyboardInterrupt

    handler = Calling(interrupt)
    CHANNEL.addHandler(handler)

    def register_and_go_on() -> None:
        poll.registry.register(reader, Token(1), R)
        poll.poll(timeout=WAIT)

    # It is ignored where the tests run in the background of a shell.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            register_and_go_on()
    finally:
        signal.signal(signal.SIGINT, before)
        CHANNEL.removeHandler(handler)
    assert [one.token for one in poll.registry] == [1]


def test_threads_that_change_at_once_are_all_told(poll, lines) -> None:
    def work(base: int) -> None:
        reader, writer = os.pipe()
        for turn in range(50):
            poll.registry.register(reader, Token(base + turn), R)
            poll.registry.deregister(reader)
        os.close(reader)
        os.close(writer)

    threads = [threading.Thread(target=work, args=(base,)) for base in range(0, 4000, 1000)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        poll.poll(timeout=0.001)
    for thread in threads:
        thread.join(WAIT)
    said = lines.take()
    for thread_number in range(4):
        for turn in range(50):
            token = f"Token({thread_number * 1000 + turn})"
            assert sum(f", {token}" in line for line in said) == 2


def test_a_forked_child_tells_of_its_copy(poll, fds, lines) -> None:
    reader, _ = fds.pipe()
    poll.registry.register(reader, Token(1), R)
    lines.take()

    def child() -> None:
        with pytest.raises(RuntimeError):
            poll.registry.deregister(reader)
        poll.close()
        said = lines.take()
        assert said == [
            f"could not deregister fd {reader}: it is a forked parent's",
            "closed, in a forked child",
        ]

    in_child(child)
    poll.registry.deregister(reader)
    assert lines.take() == [f"deregistered fd {reader}, Token(1)"]


def test_a_poll_that_logs_is_let_go(backend, lines) -> None:
    import gc
    import weakref

    poll = Poll(backend=backend, log=True)
    gone = weakref.ref(poll)
    del poll
    gc.collect()
    assert gone() is None
    assert lines.take() == ["opened", "closed"]
