"""Builds the back ends: one extension module per kernel, all with the same cdef (selector.h).

`setup.py` asks for the back end of the system that it runs on. The tests' builder asks for kqueue
on Linux and adds the sources of the tests' own kqueue.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent


def native(platform: str = sys.platform) -> str:
    """Names the back end of a system: of the one that this runs on, if no other is given."""
    return "epoll" if platform.startswith("linux") else "kqueue"


def declarations() -> str:
    """Returns the contract as cffi reads it: without the preprocessor's lines."""
    lines = (HERE / "selector.h").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def builder(
    name: str,
    *,
    here: Path = HERE,
    sources: Sequence[Path] = (),
    include_dirs: Sequence[Path] = (),
    extra: str = "",
    platform: str = sys.platform,
) -> FFI:
    """Returns the cffi builder of one back end.

    Parameters: `name`, "epoll" or "kqueue"; `here`, how to write the path of this folder;
    `sources` and `include_dirs`, what to compile with it; `extra`, what those declare; `platform`,
    the system that it is built for, as sys.platform names it.
    """
    patterns = f"{name}*.c", "selector*.c"
    # Files of any size and inode number, also where glibc has 32 bits for them.
    linux = [("_GNU_SOURCE", None), ("_FILE_OFFSET_BITS", "64")]
    own = [here / file.name for pattern in patterns for file in sorted(HERE.glob(pattern))]
    ffi = FFI()
    ffi.cdef(declarations() + extra)
    ffi.set_source(
        f"pollster.backend._{name}",
        '#include "selector.h"\n' + extra,
        sources=[str(path) for path in [*own, *sources]],
        include_dirs=[str(path) for path in [here, *include_dirs]],
        depends=[str(here / file.name) for file in HERE.glob("*.h")],
        define_macros=linux if platform.startswith("linux") else [],
        extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-pthread"],
        extra_link_args=["-pthread"],
        py_limited_api=True,
    )
    return ffi


def ffibuilder() -> FFI:
    """Returns the builder of this system's own back end; `setup.py` names this function."""
    return builder(native(), here=Path(os.path.relpath(HERE)))  # setuptools wants relative paths
