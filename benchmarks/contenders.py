"""Who is measured: the names of the contenders, and the event loops that are installed.

It does not know what is measured; each benchmark brings its contenders' code.
"""

import asyncio
import importlib
import importlib.util
import shutil
from collections.abc import Callable

C = "C"
RAW = "raw"
AGAIN = "raw, again"  # the same once more: how much of a ratio is noise
DICT = "raw+dict"
SELECTORS = "selectors"
POLLSTER = "pollster"
ASYNCIO = "asyncio"
HEAPQ = "heapq"
UVICORN = "uvicorn"
SOCAT = "socat"
HAPROXY = "haproxy"

ORDER = (
    C,
    RAW,
    AGAIN,
    DICT,
    SELECTORS,
    POLLSTER,
    HEAPQ,
    ASYNCIO,
    "uvloop",
    "rloop",
    UVICORN,
    SOCAT,
    HAPROXY,
)

NewEventLoop = Callable[[], asyncio.AbstractEventLoop]


def event_loops() -> dict[str, NewEventLoop]:
    """Returns what makes a loop of each event loop that is installed."""
    found: dict[str, NewEventLoop] = {ASYNCIO: asyncio.new_event_loop}
    for name in ("uvloop", "rloop"):
        try:
            found[name] = importlib.import_module(name).new_event_loop
        except ImportError:
            continue
    return found


def missing() -> list[str]:
    """Returns the contenders that are not installed."""
    modules = ("uvloop", "rloop", UVICORN)
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    return absent + [name for name in (SOCAT, HAPROXY) if shutil.which(name) is None]
