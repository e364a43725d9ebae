"""A TCP proxy: `python examples/proxy HOST:PORT ...`. docs/proxy.md explains it.

SIGTERM and SIGINT have it take no more connections and end with the last one, a second one at once;
SIGUSR1 prints figures.
"""

import argparse
import signal
import socket

from addresses import resolve
from proxy import Proxy

parser = argparse.ArgumentParser(prog="proxy", description="Pass connections on.")
parser.add_argument("target", nargs="+", help="HOST:PORT, the first that answers is taken")
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--limit", type=float, default=10.0, help="seconds to connect (%(default)s)")
options = parser.parse_args()
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would raise
listener = socket.create_server(("127.0.0.1", options.port))
proxy = Proxy(listener, resolve(options.target), options.limit)
print("{}:{}".format(*listener.getsockname()), flush=True)
proxy.run()
