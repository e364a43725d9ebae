"""Builds what is written in C: the contender, the echo server and its load, the child that ends."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "c"
FLAGS = ("-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread")


def build(folder: Path) -> None:
    """Compiles everything into a folder. Raises `FileNotFoundError` without a C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        raise FileNotFoundError("no C compiler: install one (Debian: gcc)")
    for name, flags in (
        ("contender", ("-shared", "-fPIC")),
        ("echo_server", ()),
        ("echo_load", ()),
        ("last_words", ()),
    ):
        source = SOURCES / f"{name}.c"
        subprocess.run([compiler, *FLAGS, *flags, source, "-o", folder / name], check=True)


def contender(folder: Path) -> ctypes.CDLL:
    """Loads the C contender: one call is a whole round, so that Python's cost is not in it."""
    library = ctypes.CDLL(str(folder / "contender"))
    library.wake_rounds.restype = ctypes.c_int64
    return library
