"""HTTP: what a request costs examples/http, and the same servers on asyncio and in uvicorn.

All servers are there at once, on one processor; wrk, on another, drives one of them at a time.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.children import child, module
from benchmarks.contenders import ASYNCIO, POLLSTER, UVICORN, missing
from benchmarks.driver import Plan, Sample, interleave

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "http"
CONNECTIONS = (1, 100)
SECONDS = 1  # of a round: wrk has no shorter ones


class Server:
    """A server; a round is a second of wrk's requests."""

    def __init__(self, pid: int, port: int, connections: int) -> None:
        self._clock = (~pid << 3) | 2  # its CPU time: clock_getcpuclockid(3)
        self._command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}"]
        self._command += [f"http://127.0.0.1:{port}/echo"]
        self._rates: list[float] = []

    def run(self, loops: int) -> int:
        """Has requests answered; returns the server's nanoseconds of CPU time for each."""
        processors = os.sched_getaffinity(0)
        before = time.clock_gettime_ns(self._clock)
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) as load:
            os.sched_setaffinity(load.pid, {max(processors)})
            output, _ = load.communicate()
        spent = time.clock_gettime_ns(self._clock) - before
        found = re.search(r"(\d+) requests in ", output)
        rate = re.search(r"Requests/sec: +([\d.]+)", output)
        if not found or not rate or "Socket errors" in output or "Non-2xx" in output:
            raise RuntimeError(f"the load on an HTTP server failed: {output}")
        self._rates.append(float(rate[1]))
        return loops * spent // int(found[1])

    def notes(self) -> dict[str, float]:
        """Returns how many requests a second were answered."""
        return {"request_rate": median(self._rates)}


def measure(plan: Plan) -> list[Sample]:
    """Measures server CPU time per request, over 1 and over 100 connections; needs wrk."""
    fewer = replace(plan, rounds=max(1, plan.rounds // 20))
    samples: list[Sample] = []
    with ExitStack() as stack:
        names = {POLLSTER, ASYNCIO, UVICORN}.difference(missing())
        ports = {name: stack.enter_context(server(name)) for name in sorted(names)}
        for count in CONNECTIONS:
            servers = {
                (f"http-{count}", name): Server(pid, port, count)
                for name, (pid, port) in ports.items()
            }
            rounds = {key: each.run for key, each in servers.items()}
            found = interleave(rounds, fewer, loops=1)
            for sample in found:
                sample.notes = servers[sample.row, sample.contender].notes()
            samples += found
    return samples


@contextmanager
def server(name: str) -> Iterator[tuple[int, int]]:
    """Starts a server, on a processor of its own; gives its process and its port."""
    command = [sys.executable, str(EXAMPLE), str(EXAMPLE), "--port", "0"]
    with child(command if name == POLLSTER else module("http_servers", name)) as started:
        os.sched_setaffinity(started.pid, {min(os.sched_getaffinity(0))})
        assert started.stdout is not None
        port = re.search(r"(\d+)/?$", started.stdout.readline())
        if port is None:
            raise RuntimeError(f"{name} did not start: it needs h11")
        yield started.pid, int(port[1])
