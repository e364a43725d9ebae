"""An HTTP/1.1 server: `python examples/http FOLDER`. docs/http.md explains it.

SIGTERM and SIGINT have it finish what runs and end, a second one at once; SIGUSR1 prints figures.
"""

import argparse
import os
import signal
import socket

from connection import Limits
from server import Server

parser = argparse.ArgumentParser(prog="http", description="Serve a folder, and /echo.")
parser.add_argument("folder")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--fd", type=int, help="of a listener that is there already")
for name, value in Limits()._asdict().items():
    parser.add_argument(f"--{name}", type=float, default=value, help="(default: %(default)s)")
options = vars(parser.parse_args())
root = os.path.realpath(options.pop("folder"))
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would raise
port, fd = options.pop("port"), options.pop("fd")
listener = socket.create_server(("127.0.0.1", port)) if fd is None else socket.socket(fileno=fd)
server = Server(listener, root, Limits(**options))
print("http://{}:{}/".format(*listener.getsockname()), flush=True)
server.run()
