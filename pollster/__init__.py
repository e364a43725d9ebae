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
from pollster.source import HasFileno, Source, SourceLike
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
    "Source",
    "SourceLike",
    "Token",
    "Trigger",
    "Waker",
]
