"""Readiness for Python in the style of mio: one interface over epoll and kqueue."""

from pollster.errors import AlreadyRegisteredError, BatchError, NotRegisteredError
from pollster.event import Event
from pollster.events import Events
from pollster.interest import Interest
from pollster.poll import Poll
from pollster.registry import Batch, Registration, Registry
from pollster.stats import Stats
from pollster.token import Token
from pollster.trigger import Trigger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollster.pathwatch import PathChange, PathWatch
    from pollster.process import HasPid, Process
    from pollster.signals import Signals
    from pollster.slab import Slab
    from pollster.source import HasFileno, Source, SourceLike
    from pollster.timer import Timer
    from pollster.waker import Waker

__all__ = [
    "AlreadyRegisteredError",
    "Batch",
    "BatchError",
    "Event",
    "Events",
    "HasFileno",
    "HasPid",
    "Interest",
    "NotRegisteredError",
    "PathChange",
    "PathWatch",
    "Poll",
    "Process",
    "Registration",
    "Registry",
    "Signals",
    "Slab",
    "Source",
    "SourceLike",
    "Stats",
    "Timer",
    "Token",
    "Trigger",
    "Waker",
    "__version__",
]

# The one place: the build reads it here. (Not the metadata: an installed distribution of another
# name may be somebody else's, and a checkout has none.)
__version__ = "0.1.0"

# What not every program needs, by the module that has it: loaded when it is first asked for. (Nor
# does what is loaded at once import `typing`, which would take longer than all of it together.)
_LATER = {
    "HasFileno": "source",
    "HasPid": "process",
    "PathChange": "pathwatch",
    "PathWatch": "pathwatch",
    "Process": "process",
    "Signals": "signals",
    "Slab": "slab",
    "Source": "source",
    "SourceLike": "source",
    "Timer": "timer",
    "Waker": "waker",
}

if not TYPE_CHECKING:  # checkers would believe that there is anything

    def __getattr__(name: str) -> object:
        module = _LATER.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import sys

        here = sys.modules.get(__name__)
        if here is None or vars(here) is not globals():
            raise AttributeError(
                f"{name} of this pollster was not loaded before another one took its place in "
                "sys.modules: import pollster again, or name it before that"
            )
        found = getattr(__import__(f"{__name__}.{module}", fromlist=[name]), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__} - {"TYPE_CHECKING"})
