"""One server in several processes: `python examples/prefork FILE`. docs/prefork.md explains it.

SIGHUP, and a change of the file, replace the workers one after the other; SIGTERM and SIGINT stop
them, a second one at once; SIGUSR1 prints figures.
"""

import argparse
import signal
import sys
from pathlib import Path

from configuration import ConfigurationError
from prefork import Prefork

parser = argparse.ArgumentParser(prog="prefork", description="Run a server in several processes.")
parser.add_argument("file", type=Path, help="the TOML file that says which")
options = parser.parse_args()
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)  # which may be ignored, and would be in the workers
try:
    prefork = Prefork(options.file)
except (ConfigurationError, OSError) as error:
    sys.exit(f"prefork: {error}")
prefork.run()
