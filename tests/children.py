"""Children of a test: one that works meanwhile, and one that has ended and waits to be reaped."""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cffi

WNOWAIT = 0x20 if sys.platform == "darwin" else 0x0100_0000


def wait_for_zombie(pid: int) -> None:
    """Returns when a child can be waited for; it still can be.

    Python has waitid(2) on macOS from 3.13 on, and PyPy does not have it.
    """
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return
    ffi = cffi.FFI()
    ffi.cdef("int waitid(int, unsigned int, void *, int);")
    p_pid, wexited = 1, 4  # as macOS and Linux have them
    information = ffi.new("char[256]")
    libc: Any = ffi.dlopen(None)
    if libc.waitid(p_pid, pid, information, wexited | WNOWAIT) < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))


@contextlib.contextmanager
def running_child(work: Callable[[], object]) -> Iterator[None]:
    """Runs work in a forked child meanwhile, and fails where it fails."""
    with warnings.catch_warnings():
        # 3.12 warns of forks while threads run, which is what some of these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        yield
    finally:
        _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed: see its traceback"


def in_child(work: Callable[[], object]) -> None:
    """Runs work in a forked child, and fails where it fails."""
    with running_child(work):
        pass
