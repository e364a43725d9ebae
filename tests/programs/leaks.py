"""Asks the leak sanitizer, while the program still runs, so that what Python keeps is no leak."""

import ctypes
import os


def check_leaks() -> None:
    """Has leaks written to standard error, where the sanitizer was loaded for it."""
    if os.environ.get("POLLSTER_LEAKS"):
        ctypes.CDLL(None).__lsan_do_recoverable_leak_check()
