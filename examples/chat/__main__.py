"""A chat: `python examples/chat --port 7000 --unix PATH`. docs/chat.md explains it.

What is typed here is said to all. SIGTERM and SIGINT end it, SIGUSR1 prints figures.
"""

import argparse
import contextlib
import os
import signal
import socket
import threading

from chat import Chat

parser = argparse.ArgumentParser(prog="chat", description="Pass lines on to everybody.")
parser.add_argument("--port", type=int, default=7000)
parser.add_argument("--unix", metavar="PATH", help="listen there, too")
parser.add_argument("--limit", type=int, default=1 << 16, help="bytes that may wait for one client")
options = parser.parse_args()
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would raise

with contextlib.ExitStack() as undo:
    tcp = undo.enter_context(socket.create_server(("127.0.0.1", options.port), backlog=1024))
    listeners = [tcp]
    if options.unix:
        unix = undo.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(options.unix)
        undo.callback(os.unlink, options.unix)
        unix.listen(1024)
        listeners.append(unix)
    chat = Chat(listeners, options.limit)

    def read() -> None:
        """Reads what is typed. A thread may block, and so may read what no kernel can watch."""
        while line := os.read(0, 1024):
            chat.tell(line)

    threading.Thread(target=read, daemon=True).start()
    print("{}:{}".format(*tcp.getsockname()), flush=True)
    chat.run()
