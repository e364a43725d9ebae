"""`python -m pollster`: what this machine can do, and whether pollster works on it.

For a person; with `--json` for a program. It is what a bug report should have in it: no paths, no
names of users or hosts. The exit code is 0 where every check of every back end is well.
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, cast

from pollster import backend as backends
from pollster.report.checks import run
from pollster.report.features import features
from pollster.report.machine import limits, versions

__all__ = ["main", "report"]

USAGE = 2


def report(names: Sequence[str]) -> dict[str, Any]:
    """Returns all of it, of these back ends, as `--json` prints it.

    >>> from pollster.__main__ import report
    >>> sorted(report([]))
    ['backends', 'limits', 'ok', 'versions']
    """
    found = {
        name: {
            "features": [dataclasses.asdict(feature) for feature in features(name)],
            "checks": [dataclasses.asdict(result) for result in run(name)],
        }
        for name in names
    }
    return {
        "versions": versions(),
        "limits": [dataclasses.asdict(limit) for limit in limits()],
        "backends": found,
        "ok": bool(found) and all(c["ok"] for each in found.values() for c in each["checks"]),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pollster",
        description="Says what this machine can do, and checks that pollster works on it.",
    )
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.add_argument("--back-end", metavar="NAME", help="look at this one only")
    options = parser.parse_args(arguments)
    here = backends.available()
    if options.back_end is not None and options.back_end not in here:
        choice = ", ".join(here) or "none: pollster was not built"
        print(
            f"{options.back_end!r} is not a back end of this machine; it has {choice}",
            file=sys.stderr,
        )
        return USAGE
    if not here:
        print("no back end is built here: install pollster again", file=sys.stderr)
        return 1
    found = report(here if options.back_end is None else [options.back_end])
    said = _print(json.dumps(found, indent=2) if options.json else "\n".join(_lines(found)))
    return 0 if found["ok"] and said else 1


def _print(text: str) -> bool:
    """Prints it; returns whether that could be done. Who reads no further has read enough."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Python flushes again when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"the report can't be written: {error.strerror}", file=sys.stderr)
            return False
    return True


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{name:14} {_text(value)}" for name, value in found["versions"].items()]
    lines += ["", "limits"]
    for limit in found["limits"]:
        most = "none" if limit["most"] is None else f"{limit['most']:,}"
        used = "" if limit["used"] is None else f", {limit['used']:,} in use"
        lines.append(f"  {limit['name']:42} {most}{used}")
    for name, each in found["backends"].items():
        lines += ["", f"{name}: what this kernel has"]
        for feature in each["features"]:
            works = "yes" if feature["works"] else "no"
            lines.append(f"  {feature['name']:24} {works:4} {feature['about']}".rstrip())
        lines += ["", f"{name}: self-check"]
        for check in each["checks"]:
            lines.append(
                f"  {check['name']:12} {'ok' if check['ok'] else 'FAILED':7} {check['says']}"
            )
    lines += ["", "all is well" if found["ok"] else "not all is well: see FAILED above"]
    return lines


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast("list[object]", value))) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
