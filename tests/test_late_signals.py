"""What becomes of a signal that was watched when it was sent, and is received after `close()`.

The kernel gives a signal to a thread, which may be slow to take it: it is pending then, or its
handler is about to start. Each program runs in a process of its own, which must not die of it.
"""

import signal
import subprocess
import sys

import pytest

ONE = int(signal.SIGUSR1)

# The function that the kernel calls for the signal: the first member of struct sigaction on every
# system but for a few of Linux, and what glibc and musl hand out on all of them.
START = """
import ctypes, os, signal, sys, threading
from pollster import Signals

ONE = signal.SIGUSR1
libc = ctypes.CDLL(None, use_errno=True)
Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

def kernels_handler():
    room = (ctypes.c_void_p * 64)()
    assert libc.sigaction(int(ONE), None, room) == 0
    return Handler(room[0])

def watched():
    return Signals(ONE, backend=sys.argv[1])

def late(handler):
    thread = threading.Thread(target=handler, args=(int(ONE), None, None))
    thread.start()
    thread.join()
"""


def run(program: str, backend: str) -> int:
    done = subprocess.run([sys.executable, "-c", START + program, backend], check=False)
    return done.returncode


@pytest.mark.parametrize("is_threads", [False, True], ids=["process's", "thread's"])
def test_a_signal_that_is_pending_when_its_watch_is_closed_kills_nobody(backend, is_threads):
    send = "signal.pthread_kill(threading.get_ident(), ONE)" if is_threads else "os.kill(me, ONE)"
    program = f"""
me = os.getpid()
for turn in range(20):
    with watched():
        signal.pthread_sigmask(signal.SIG_BLOCK, {{ONE}})
        {send}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {{ONE}})
"""
    assert run(program, backend) == 0


def test_a_handler_that_starts_after_the_close_kills_nobody(backend) -> None:
    program = """
with watched():
    handler = kernels_handler()
late(handler)
assert signal.getsignal(ONE) is signal.SIG_DFL
"""
    assert run(program, backend) == 0


def test_a_late_handler_kills_nobody_where_the_program_has_a_handler_since(backend) -> None:
    program = """
with watched():
    handler = kernels_handler()
signal.signal(ONE, lambda number, frame: None)
late(handler)
"""
    assert run(program, backend) == 0


def test_a_late_handler_kills_nobody_after_many_watches_and_handlers(backend) -> None:
    program = """
for turn in range(3):
    with watched():
        first = kernels_handler()
        signal.signal(ONE, lambda number, frame: None)
    signal.signal(ONE, signal.SIG_DFL)
    late(first)
    with watched(), watched():
        second = kernels_handler()
    late(second)
    signal.signal(ONE, lambda number, frame: None)
    late(second)
    signal.signal(ONE, signal.SIG_DFL)
"""
    assert run(program, backend) == 0


def test_the_programs_handler_is_called_by_a_late_one(backend) -> None:
    """Not by the kernel's that counts by itself: there the handler was never ours."""
    program = """
with watched():
    pass
came = []
signal.signal(ONE, lambda number, frame: came.append(number))
with watched():
    handler = kernels_handler()
late(handler)
assert came == [ONE], came
"""
    assert run(program, backend) == 0


def test_the_default_action_happens_once_the_watch_is_closed(backend) -> None:
    program = """
with watched():
    os.kill(os.getpid(), ONE)
os.kill(os.getpid(), ONE)
"""
    assert run(program, backend) == -ONE


def test_no_child_loses_its_status_while_its_signal_is_given_back(backend) -> None:
    """Who ignores SIGCHLD has no zombies: it must not be ignored for a moment."""
    program = """
import time
for turn in range(200):
    with Signals(signal.SIGCHLD, backend=sys.argv[1]):
        pid = os.fork()
        if pid == 0:
            time.sleep(turn % 10 * 1e-4)
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    assert run(program, backend) == 0
