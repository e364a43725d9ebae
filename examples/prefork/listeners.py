"""The listeners: one for each worker where the kernel spreads connections, else one for all."""

import os
import socket

# Where several sockets that listen at one address share what comes: socket(7), setsockopt(2). On
# other systems SO_REUSEPORT gives all of it to the last one.
BALANCES = {
    "Linux": "SO_REUSEPORT",
    "DragonFly": "SO_REUSEPORT",
    "FreeBSD": "SO_REUSEPORT_LB",
}
SO_REUSEPORT_LB = 0x00010000  # FreeBSD's; Python has its name since 3.14
QUEUE = 1024


def listen(host: str, port: int, workers: int, spread: bool) -> list[socket.socket]:
    """Returns a listener for each worker; they may be one and the same. Raises `OSError`."""
    name = BALANCES.get(os.uname().sysname)
    if not spread or name is None:
        return [socket.create_server((host, port), backlog=QUEUE)] * workers
    option = getattr(socket, name, SO_REUSEPORT_LB)
    listeners: list[socket.socket] = []
    for _ in range(workers):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((host, port))
        listener.listen(QUEUE)
        port = listener.getsockname()[1]  # the others have the one that was given for 0
        listeners.append(listener)
    return listeners
