"""Builds the back ends: one extension module for each, all with the same cdef (selector.h).

`setup.py` asks for those of the system that it runs on. The tests' builder asks for others, with
sources of its own: kqueue on Linux, with the tests' kqueue.
"""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

# Each is the folder of its name. On which systems it is built: what sys.platform begins with there.
# A system may have several.
SYSTEMS = {
    "epoll": ("linux",),
    "kqueue": ("darwin", "freebsd", "netbsd", "openbsd", "dragonfly"),
}


def native(platform: str = sys.platform) -> tuple[str, ...]:
    """Names the back ends of a system: of the one that this runs on, if no other is given."""
    return tuple(name for name, systems in SYSTEMS.items() if platform.startswith(systems))


def sources(name: str) -> list[Path]:
    """Returns the C files of a back end: those of its folder, and those that all share."""
    return [file for folder in (name, "common") for file in sorted(HERE.glob(f"{folder}/*.c"))]


def declarations() -> str:
    """Returns the contract as cffi reads it: without the preprocessor's lines."""
    lines = (HERE / "selector.h").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def builder(
    name: str,
    *,
    here: Path = HERE,
    more: Sequence[Path] = (),
    include_dirs: Sequence[Path] = (),
    extra: str = "",
    platform: str = sys.platform,
) -> FFI:
    """Returns the cffi builder of one back end.

    Parameters: `name`, one of SYSTEMS; `here`, how to write the path of this folder; `more` and
    `include_dirs`, what to compile with it; `extra`, what those declare; `platform`, the system
    that it is built for, as sys.platform names it.
    """
    # Files of any size and inode number, also where glibc has 32 bits for them.
    linux = [("_GNU_SOURCE", None), ("_FILE_OFFSET_BITS", "64")]
    own = [here / file.relative_to(HERE) for file in sources(name)]
    ffi = FFI()
    ffi.cdef(declarations() + extra)
    ffi.set_source(
        f"pollster.backend._{name}",
        '#include "selector.h"\n' + extra,
        sources=[str(path) for path in [*own, *more]],
        include_dirs=[str(path) for path in [here, *include_dirs]],
        depends=[str(here / file.relative_to(HERE)) for file in HERE.rglob("*.h")],
        define_macros=linux if platform.startswith("linux") else [],
        extra_compile_args=["-std=gnu11", "-fvisibility=hidden", "-pthread"],
        extra_link_args=["-pthread"],
        py_limited_api=True,
    )
    return ffi


def packaged(name: str) -> FFI:
    """Returns the builder of a back end that is part of the package."""
    return builder(name, here=Path(os.path.relpath(HERE)))  # setuptools wants relative paths


# setup.py gives cffi their names, and cffi looks for them among those of this file.
globals().update({name: partial(packaged, name) for name in SYSTEMS})
