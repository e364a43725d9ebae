"""`import pollster` loads what every program needs, and the rest when it is asked for."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import pollster

FOLDER = str(Path(pollster.__file__).parent.parent)

# What Python has loaded by then, or loads for any program with sockets, is not pollster's doing.
BEGIN = """
import sys
sys.path.insert(0, sys.argv[1])
import _cffi_backend, collections, enum, functools, math, socket
before = {*sys.modules}
import pollster

def loaded():
    return {*sys.modules} - before
"""


# With these a Poll loads more.
ASKED_FOR = {"PYTHONDEVMODE", "POLLSTER_LOG"}


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = {name: value for name, value in os.environ.items() if name not in ASKED_FOR}
    command = [sys.executable, "-c", BEGIN + code, FOLDER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def loaded(code: str) -> set[str]:
    """The modules that are loaded when it has run."""
    return {*run(f"{code}\nprint(*loaded())").split()}


NEVER = {
    *("asyncio", "contextlib", "dataclasses", "datetime", "inspect", "logging", "pathlib", "re"),
    *("selectors", "signal", "subprocess", "threading", "typing", "warnings"),
}
CORE = "from pollster import Events, Interest, Poll, Registry, Token, Trigger"


@pytest.mark.parametrize("code", [CORE, f"{CORE}, PathWatch, Timer, Waker"])
def test_what_takes_long_to_load_is_not_loaded(code) -> None:
    """Found where `import pollster` took 20 ms, half of it for dataclasses and inspect."""
    found = loaded(code)
    assert not found & NEVER
    assert "pollster.poll" in found


def test_what_few_programs_need_is_loaded_when_it_is_asked_for() -> None:
    later = {"pollster.process", "pollster.signals", "pollster.slab", "pollster.timer"}
    assert not loaded("") & later
    assert loaded("pollster.Slab, pollster.Timer") & later == {"pollster.slab", "pollster.timer"}


def test_a_poll_that_works_loads_nothing(backend) -> None:
    """Not at the descriptor limit, nor where the files are out of reach since a chroot."""
    run(
        f"""
from pollster import Interest, Poll, Timer, Token, Trigger, Waker
before |= {{*sys.modules}}
ours, peer = socket.socketpair()
with ours, peer, Poll(backend={backend!r}) as poll:
    registry, timer = poll.registry, Timer()
    registry.register(ours, Token(1), Interest.WRITABLE)
    registry.register(peer, token=2, interest=Interest.READABLE, trigger=Trigger.EDGE)
    registry.register(timer, 3, Interest.READABLE)
    for seconds in (float("inf"), 0.001, 1):
        timer.set_after(seconds)
        timer.set_at(seconds)
    waker = Waker(registry, 4)
    waker.wake()
    with registry.batch() as changes:
        changes.reregister(ours, 1, Interest.READABLE)
        changes.pause(peer)
    poll.poll(timeout=float("inf")), poll.poll(timeout=2**200 * 0)
    registry.resume(peer)
    [*registry], ours in registry, poll.stats(), repr(poll), repr(registry), repr(timer)
    for refused in (
        lambda: registry.register(ours, 1, Interest.READABLE),
        lambda: registry.deregister(timer) or registry.deregister(timer),
        lambda: poll.poll(timeout=-1.0),
        lambda: poll.poll(timeout=float("nan")),
    ):
        try:
            refused()
        except (OSError, ValueError):
            continue
        raise AssertionError(refused)
    waker.close()
assert not loaded(), loaded()
"""
    )


def test_all_names_are_listed_and_there() -> None:
    run(
        """
assert {*pollster.__all__} <= {*dir(pollster)}
others = {name for name in dir(pollster) if name[0] != "_"} - {*pollster.__all__}
assert {f"pollster.{name}" for name in others} <= {*sys.modules}, others
assert "Timer" not in vars(pollster)
names = {}
exec("from pollster import *", names)
assert {*pollster.__all__} <= {*names}
for name in pollster.__all__:
    assert getattr(pollster, name) is names[name], name
    assert vars(pollster)[name] is names[name], name
"""
    )


def test_a_name_that_there_is_not_is_an_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'pollster' has no attribute 'Pol'"):
        pollster.Pol  # noqa: B018
    with pytest.raises(ImportError, match=r"cannot import name 'Pol'"):
        exec("from pollster import Pol")
    assert not hasattr(pollster, "__wrapped__")


def test_threads_that_ask_at_once_get_the_same() -> None:
    run(
        """
import threading
names = [name for name in pollster.__all__ if name not in vars(pollster)]
assert "Timer" in names
begin, found = threading.Barrier(8), []
def ask(order):
    begin.wait()
    found.append({name: getattr(pollster, name) for name in order})
orders = [names[i:] + names[:i] for i in range(4)]
threads = [threading.Thread(target=ask, args=[order]) for order in orders + orders]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(found) == 8 and all(each == found[0] for each in found)
"""
    )


def test_a_class_is_copied_and_pickled_by_its_name() -> None:
    """Also where nobody has asked for it yet."""
    kinds = [pollster.Timer, pollster.Waker, pollster.Slab, pollster.PathWatch, pollster.Source]
    assert [*map(repr, kinds[:2])] == [
        "<class 'pollster.timer.Timer'>",
        "<class 'pollster.waker.Waker'>",
    ]
    assert pickle.loads(pickle.dumps(kinds)) == kinds
    run(
        f"""
import copy, pickle
kinds = pickle.loads({pickle.dumps([*kinds, pollster.PathChange.WRITTEN])!r})
assert kinds.pop() is pollster.PathChange.WRITTEN
assert kinds == copy.deepcopy(kinds) == [getattr(pollster, kind.__name__) for kind in kinds]
"""
    )


def test_a_wrong_python_is_told_at_once(tmp_path) -> None:
    """Not when the first name is used: what needs C is loaded by `import pollster`."""
    (tmp_path / "_cffi_backend.py").write_text("raise ImportError('there is none')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), FOLDER])}
    command = [sys.executable, "-c", "import pollster"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pollster needs cffi" in done.stderr
