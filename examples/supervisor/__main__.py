"""A process supervisor: `python examples/supervisor CONFIGURATION`.

It runs the programs that a TOML file names and starts them again when they end. SIGTERM and SIGINT
stop everything, a second one at once; SIGHUP, and a change of the file, have it read again; SIGUSR1
writes the state of each program to the log, which is the standard output. The exit code is 0 after
it was stopped, 2 where the configuration is wrong. docs/supervisor.md says more.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from configuration import ConfigurationError
from log import Log
from supervisor import Supervisor


def main() -> int:
    """Runs until it is stopped; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="supervisor",
        description="Run programs, and start them again when they end.",
        epilog="SIGTERM, SIGINT: stop. SIGHUP: read CONFIGURATION again, as when it changes. "
        "SIGUSR1: log the state of each program.",
    )
    parser.add_argument("configuration", type=Path, help="the TOML file that names the programs")
    parser.add_argument(
        "--reap-orphans",
        action="store_true",
        help="wait for processes that others leave behind, as process 1 does in any case",
    )
    options = parser.parse_args()
    if options.reap_orphans and not hasattr(os, "waitid"):
        parser.error("--reap-orphans: this Python has no os.waitid() on this system")
    reset_signals()
    try:
        Supervisor(
            options.configuration,
            Log(sys.stdout.fileno()),
            reaps=options.reap_orphans or (os.getpid() == 1 and hasattr(os, "waitid")),
        ).run()
    except ConfigurationError as error:
        print(f"supervisor: {error}", file=sys.stderr)
        return 2
    return 0


def reset_signals() -> None:
    """Has signals do what they do by default, since children inherit which are ignored or blocked.

    Whoever started this may have ignored some: a shell SIGINT, nohup SIGHUP. With SIGCHLD ignored
    nobody would learn how a child has ended. SIGPIPE and SIGXFSZ are Python's, which gives children
    the default by itself.
    """
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN or number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    sys.exit(main())
