"""Children of a test that have ended, and are left for somebody else to wait for."""

import os
import sys
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
