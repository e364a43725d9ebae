"""Several copies of pollster in one process: imported again, and by other interpreters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pollster

from .conftest import CPYTHON

FOLDERS = [str(Path(pollster.__file__).parent.parent), str(Path(__file__).parent)]

BEGIN = """
import gc, socket, sys, weakref
from datetime import timedelta
from unittest import mock
backend = sys.argv[1]
sys.path[:0] = sys.argv[2:]
from copies import check, purge
"""


def run(code: str, backend: str) -> str:
    """What a fresh interpreter prints; its memory is checked for use after it was freed."""
    command = [sys.executable, "-c", BEGIN + code, backend, *FOLDERS]
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Imported again

IN_A_PATCH = """
with mock.patch.dict(sys.modules):
    import pollster as first
    check(first, backend)
assert "pollster" not in sys.modules
import pollster as second
"""

AFTER_A_PURGE = """
import pollster as first
check(first, backend)
purge()
import pollster as second
"""

IN_BOTH = """
assert second is not first
assert second.Token is not first.Token
for copy in (second, first, second):
    check(copy, backend)
"""


@pytest.mark.parametrize("again", [IN_A_PATCH, AFTER_A_PURGE], ids=["patch", "purge"])
def test_two_copies_work_side_by_side(backend, again) -> None:
    run(again + IN_BOTH, backend)


def test_what_is_open_goes_on_when_pollster_is_imported_again(backend) -> None:
    run(
        """
import pollster as first
ours, peer = socket.socketpair()
poll, timer = first.Poll(backend=backend), first.Timer.after(3600)
poll.registry.register(ours, 1, first.Interest.READABLE)
poll.registry.register(timer, 2, first.Interest.READABLE)
peer.send(b"x")
iterator = iter(poll.poll())
purge()
import pollster as second
check(second, backend)
assert [type(event) for event in iterator] == [first.Event]
timer.set_after(timedelta(0))
assert sorted(event.token for event in poll.poll()) == [1, 2]
assert type(first.Poll(backend=backend)) is type(poll)
""",
        backend,
    )


def test_a_copy_that_is_purged_imports_no_other(backend) -> None:
    run(
        """
import pollster
check(pollster, backend)
purge()
check(pollster, backend)
assert not [name for name in sys.modules if name.partition(".")[0] == "pollster"]
""",
        backend,
    )


def test_a_copy_whose_place_is_taken_loads_nothing_of_the_other(backend) -> None:
    run(
        """
import pollster as first
first.Timer
purge()
for second in (None, __import__("pollster")):
    assert first.Timer.__module__ == "pollster.timer"
    try:
        first.Slab
    except AttributeError as error:
        assert "Slab of this pollster was not loaded" in str(error), error
    else:
        raise AssertionError("whose is it?")
assert second.Timer is not first.Timer
check(second, backend)
""",
        backend,
    )


def test_what_is_another_copys_is_refused_by_name(backend) -> None:
    """Found with two copies: a Timer and the other's Registry called each other without end."""
    run(
        """
import pollster as first
purge()
import pollster as second
poll = first.Poll(backend=backend)
timer = second.Timer.after(0)
for change in (
    lambda: poll.registry.register(timer, 1, first.Interest.READABLE),
    lambda: poll.registry.reregister(timer, 1, first.Interest.READABLE),
    lambda: poll.registry.deregister(timer),
):
    try:
        change()
    except TypeError as error:
        assert "imported twice" in str(error), error
    else:
        raise AssertionError(change)
for refused in (
    lambda: poll.poll(second.Events()),
    lambda: poll.registry.register(0, 1, second.Interest.READABLE),
    lambda: poll.registry.register(0, 1, first.Interest.READABLE, second.Trigger.EDGE),
):
    try:
        refused()
    except TypeError:
        continue
    raise AssertionError(refused)
""",
        backend,
    )


@pytest.mark.skipif(not CPYTHON, reason="only CPython frees at once what nobody holds")
def test_a_copy_that_nobody_holds_is_freed(backend) -> None:
    """When there is another one: `typing.overload` keeps what it saw last."""
    run(
        """
gone = []
for _ in range(5):
    import pollster, pollster.backend._python as python
    check(pollster, backend)
    gone += map(weakref.ref, (python, python.Event, pollster.Registry, pollster.Token))
    del pollster, python
    purge()
    gc.collect()
assert [reference() for reference in gone[:-4]] == [None] * 16
""",
        backend,
    )


def test_what_is_held_of_a_copy_that_is_gone_goes_on(backend) -> None:
    run(
        """
import pollster
ours, peer = socket.socketpair()
poll, timer, events = pollster.Poll(backend=backend), pollster.Timer.after(9), pollster.Events(2)
poll.registry.register(ours, 1 << 40, pollster.Interest.WRITABLE)
poll.poll(events)
iterator, register, readable = iter(events), poll.registry.register, pollster.Interest.READABLE
del poll, pollster
purge()
gc.collect()
assert repr(next(iterator)) == f"<Event Token({1 << 40}) writable>"
timer.set_after(timedelta(1))
try:
    register(peer, token=1, interest=readable)
except ValueError as error:
    assert "this Poll is closed" in str(error)
else:
    raise AssertionError("the Poll is gone")
del iterator, events, register, timer, readable
gc.collect()
""",
        backend,
    )


# Other interpreters

SUBINTERPRETERS = f"""
try:
    import _interpreters
    create = _interpreters.create
except ImportError:
    import _xxsubinterpreters as _interpreters
    create = lambda kind: _interpreters.create(isolated=kind == "isolated")

def inside(interpreter, code):
    begin = f"import sys; sys.argv = {{sys.argv!r}}\\n"
    failed = _interpreters.run_string(interpreter, begin + {BEGIN!r} + code)
    assert failed is None, failed
"""

interpreters = pytest.mark.skipif(not CPYTHON, reason="only CPython has several interpreters")
LATER = pytest.param(
    "later",
    marks=pytest.mark.skipif(
        sys.version_info[:2] == (3, 12),
        reason="CPython 3.12: it uses freed memory of a module of single-phase initialization, as "
        "cffi's and its own _testcapi are, that another interpreter imported before the main one "
        "(python/cpython#116510, #117953)",
    ),
)


@interpreters
@pytest.mark.parametrize("when", ["first", LATER])
def test_an_interpreter_that_shares_the_gil_has_a_copy_of_its_own(backend, when) -> None:
    is_first = when == "first"
    out = run(
        SUBINTERPRETERS
        + f"""
if {is_first}:
    import pollster
    check(pollster, backend)
others = [create("legacy") for _ in range(2)]
for other in others:
    inside(other, "import pollster; check(pollster, backend)")
import pollster
check(pollster, backend)
for other in others:
    inside(other, "check(pollster, backend); left = pollster.Poll(); print('works')")
    sys.stdout.flush()
    _interpreters.destroy(other)
check(pollster, backend)
""",
        backend,
    )
    assert out.split() == ["works", "works"]


@interpreters
@pytest.mark.parametrize("when", ["first", LATER])
def test_an_isolated_interpreter_is_told_why_it_can_not(backend, when) -> None:
    """From 3.12 on it has a GIL of its own, and is none that cffi can be loaded in."""
    is_first = when == "first"
    out = run(
        SUBINTERPRETERS
        + f"""
if {is_first}:
    import pollster
    check(pollster, backend)
other = create("isolated")
inside(other, '''
try:
    import pollster
except ImportError as error:
    print(error)
else:
    check(pollster, backend)
    print("works")
''')
import pollster
check(pollster, backend)
_interpreters.destroy(other)
check(pollster, backend)
""",
        backend,
    )
    assert out.startswith(("works", "pollster needs cffi, which can't be imported here: "))
