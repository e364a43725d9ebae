"""What there is, and what other libraries have that there is not."""

import socket

import pollster
from pollster import Poll, Registration, Slab, Token

ours, peer = socket.socketpair()
slab: Slab[socket.socket] = Slab()
token: Token = slab.insert(ours)
for key in slab:
    found_key: Token = key
taken: socket.socket | None = slab.pop(token, None)
gone: socket.socket = slab.pop(token)
del slab[token]
slab[token] = peer  # refused

with Poll() as poll:
    registry = poll.registry
    count: int = len(registry)
    found: Registration | None = registry.find(ours)
    print(peer in registry, count, found)

    poll.register(ours)  # refused
    poll.modify(ours)  # refused
    registry.unregister(ours)  # refused
    registry.find("ours")  # refused
    print(registry.find(ours).token)  # refused
    poll.poll(1.0)  # refused

pollster.Timer.after(1.0)
pollster.Timers.after(1.0)  # refused
