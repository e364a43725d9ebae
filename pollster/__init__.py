"""Readiness for Python in the style of mio: one interface over epoll and kqueue."""

from pollster.errors import AlreadyRegisteredError, BatchError, NotRegisteredError
from pollster.event import Event
from pollster.events import Events
from pollster.interest import Interest
from pollster.pathwatch import PathChange, PathWatch
from pollster.poll import Poll
from pollster.process import HasPid, Process
from pollster.registry import Batch, Registration, Registry
from pollster.signals import Signals
from pollster.slab import Slab
from pollster.source import HasFileno, Source, SourceLike
from pollster.stats import Stats
from pollster.timer import Timer
from pollster.token import Token
from pollster.trigger import Trigger
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
