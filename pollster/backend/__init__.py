"""Finds the back ends that this machine has and loads them.

All that knows a kernel lives in this folder. A back end is an extension module `_<name>` beside
this file; which of them exist was settled when pollster was built, so nothing here asks for the
platform.
"""

import os
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:  # what every back end needs: so that one learns why it is not here
    import _cffi_backend  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise ImportError(f"pollster needs cffi, which can't be imported here: {error}") from error

__all__ = ["ENVIRONMENT_VARIABLE", "NAMES", "address", "available", "functions", "load", "resolve"]

ENVIRONMENT_VARIABLE = "POLLSTER_BACKEND"
# Every type that pollster's Python names: each is parsed when it is first used, see `_realize`.
TYPES = (
    "change *",
    "feature[]",
    "int *",
    "registration_view *",
    "selector *",
    "stats",
    "stats *",
    "uint32_t[]",
    "uint64_t *",
    "uintptr_t",
    "waker *",
)
NAMES = ("epoll", "kqueue")  # of all that there are; the first that a machine has is its default


def available() -> tuple[str, ...]:
    """Returns the names of the back ends that are built here, the default one first."""
    return tuple(_built())


def resolve(name: str | None) -> str:
    """Returns the name of the back end to use.

    Parameters: `name`, or None for what POLLSTER_BACKEND says, or else this machine's default.
    Raises `ValueError` for a name that this machine does not have.
    """
    origin = "backend"
    if name is None:
        name = os.environ.get(ENVIRONMENT_VARIABLE) or None
        origin = ENVIRONMENT_VARIABLE
    here = available()
    if name is None and here:
        return here[0]
    if name not in here:
        choice = ", ".join(map(repr, here)) or "none: pollster was not built, see its README"
        raise ValueError(f"{origin}={name!r} is not a back end of this machine; it has {choice}")
    return name


def load(name: str) -> "Any":
    """Returns a back end: a module with cffi's `ffi` and `lib`, as selector.h declares them."""
    return _built()[name]


def address(module: "Any", pointer: "Any") -> int:
    """Returns where a pointer of a back end leads to, as `_python` wants to be told."""
    return int(module.ffi.cast("uintptr_t", pointer))


def functions(module: "Any") -> int:
    """Returns the address of a back end's functions: see `selector_calls` in selector.h."""
    return address(module, module.lib.selector_functions())


@cache
def _built() -> "dict[str, Any]":
    """Imports the back ends that are built here; returns them by name, in the order of NAMES.

    By plain statements, which programs that pack others look for. And not again for each Poll: a
    later import may be that of another copy of pollster, or give none.
    """
    found: dict[str, Any] = {}
    try:
        import pollster.backend._epoll as epoll

        found["epoll"] = epoll
    except ModuleNotFoundError:
        pass
    try:
        import pollster.backend._kqueue as kqueue

        found["kqueue"] = kqueue
    except ModuleNotFoundError:
        pass
    for module in found.values():
        _realize(module.ffi, module.lib)
    return found


def _realize(ffi: "Any", lib: "Any") -> None:
    """Has cffi make its objects for all that a back end declares, while nobody else can.

    It makes each when it is first asked for. What Python runs in between (a finalizer, another
    thread) may ask for the same one, and cffi then ends the process at an assertion.
    """
    for name in dir(lib):
        value = getattr(lib, name)
        if callable(value):
            ffi.typeof(value)
    for name in (name for kind in ffi.list_types() for name in kind):
        made = ffi.typeof(name)
        try:
            ffi.sizeof(made)
            _ = made.kind == "struct" and made.fields
        except ffi.error:  # one of C's own, whose members cffi does not know
            pass
    for name in TYPES:
        ffi.typeof(name)


def _why_not(error: ImportError) -> str:
    """Returns why there is no `_python`, and the cure."""
    folder = os.path.dirname(os.path.abspath(__file__))
    built = [name for name in os.listdir(folder) if name.startswith("_python.")]
    if built == ["_python.pyi"]:
        return (
            f"the C parts of pollster are not built in {folder}: "
            "run 'pip install -e .' in this checkout, or leave its folder so that Python finds "
            "the pollster that is installed"
        )
    return (
        f"the C parts of pollster in {folder} can't be loaded ({error}): they were built for "
        "another system or another Python; install pollster with the pip of this one"
    )


try:
    from pollster.backend import _python as _python
except ImportError as error:
    raise ImportError(_why_not(error), name=__name__) from error
_built()
