"""What `|` takes, and what registering does: the lines that say so must be refused."""

import socket

from pollster import Interest, PathChange, PathWatch, Poll, Registration, Token, Trigger

sock = socket.socket()
watch = PathWatch("/")
with Poll() as poll:
    registry = poll.registry
    registry.register(sock, 1, Interest.READABLE | Interest.WRITABLE, Trigger.EDGE_ONESHOT)
    registry.register(watch, Token(2), Interest.READABLE)
    changes: PathChange = watch.take() & ~(PathChange.WRITTEN | PathChange.EXTENDED)
    for registration in registry:
        found: Registration = registration

    registry.register(sock, 1, Interest.READABLE | Trigger.EDGE)  # refused
    registry.register(sock, 1, Trigger.EDGE | Interest.READABLE)  # refused
    registry.register(sock, 1, Interest.READABLE | 2)  # refused
    registry.register(sock, 1, Interest.READABLE | PathChange.WRITTEN)  # refused
    registry.register(sock, 1, Interest.READABLE, Trigger.EDGE | Trigger.ONESHOT)  # refused
    registry.register(sock, 1, Trigger.EDGE)  # refused
    registry.register(sock, 1, Interest.READABLE, Interest.WRITABLE)  # refused
    registry.register(sock, 1, 1)  # refused
    registry.register(sock, 1, Interest.READABLE, 1)  # refused
    PathWatch("/", PathChange.WRITTEN | 2)  # refused
    PathWatch("/", 1)  # refused
