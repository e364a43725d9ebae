"""The demo's command line.

This file owns what may be asked of the demo and which values make sense; what is done with them is
the client's affair.
"""

import argparse
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

from pollster.backend import NAMES
from pollster.demo.server import LONGEST_DELAY

__all__ = ["Options", "parse"]

GRACE = 10.0
"""How many seconds beyond the longest delay the demo waits, unless told otherwise."""

MOST_REQUESTS = 10_000
MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for. Without a `host` the demo is to start its own server."""

    host: str | None
    port: int
    path: str
    requests: int
    delay_step: float
    timeout: float
    backend: str | None
    raw: bool
    timeline: bool

    def delay(self, number: int) -> float:
        """Returns the delay that request `number` asks for, in seconds: the first the longest."""
        return (self.requests - number) * self.delay_step

    def target(self, number: int) -> str:
        """Returns the path to ask for with request `number`."""
        delay = self.delay(number)
        return self.path.format(
            delay=round(delay * 1000), seconds=f"{delay:.3f}".rstrip("0").rstrip("."), number=number
        )


def parse(argv: Sequence[str] | None = None) -> Options:
    """Reads the command line. Raises `SystemExit` (2) for one that makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m pollster.demo",
        description="Send requests whose answers are delayed, the first the longest, and print "
        "them as they arrive. Exit code 0 if all did, in descending order; 1 if not.",
        allow_abbrev=False,
    )
    target = parser.add_argument_group("the server (by default one of the demo's own)")
    target.add_argument("--host", type=_host, help="name or address (127.0.0.1 if only --port is)")
    target.add_argument("--port", type=_port, help="TCP port (80 if only --host is given)")
    target.add_argument(
        "--path",
        type=_path,
        default="/delay/{delay}/request/{number}",
        help="what to ask for; {delay} is in milliseconds, {seconds} the same in seconds, {number} "
        "the request's (%(default)s)",
    )
    parser.add_argument(
        "--requests", type=_count, default=5, metavar="N", help="how many (%(default)s)"
    )
    parser.add_argument(
        "--delay-step",
        type=_seconds,
        default=0.2,
        metavar="SECONDS",
        help="by how much each delay is longer than the next request's (%(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help=f"when to give up on what is unanswered (the longest delay and {GRACE:g})",
    )
    parser.add_argument(
        "--backend", metavar="|".join(NAMES), help="which kernel queue (this machine's own)"
    )
    parser.add_argument(
        "--raw", action="store_true", help="print each event as the kernel gave it, poll by poll"
    )
    parser.add_argument(
        "--timeline", action="store_true", help="draw when each request was sent and answered"
    )

    asked = parser.parse_args(argv)
    longest = (asked.requests - 1) * asked.delay_step
    if asked.host is None and asked.port is None:
        if longest > LONGEST_DELAY:
            parser.error(
                f"the longest delay would be {longest:g} seconds; "
                f"the demo's own server allows {LONGEST_DELAY:g}"
            )
    elif asked.host is None:
        asked.host = "127.0.0.1"
    if asked.port is None:
        asked.port = 80
    if asked.timeout is None:
        asked.timeout = longest + GRACE
    return Options(**vars(asked))


def _host(text: str) -> str:
    if not text or text != text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not a host")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 1 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_REQUESTS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_REQUESTS}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of 0 to {MOST_SECONDS:g} seconds")
    return seconds


def _path(text: str) -> str:
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no template: {error}") from None
    fields = {name for _, name, _, _ in pieces if name is not None}
    if any(form or conversion for _, _, form, conversion in pieces) or not (
        fields <= {"delay", "seconds", "number"} and fields & {"delay", "seconds"}
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} needs {{delay}} (or {{seconds}}), may have {{number}}, and nothing else "
            "in braces"
        )
    if not text.startswith("/") or not all("!" <= letter <= "~" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is no path: a slash, then ASCII without spaces")
    return text
