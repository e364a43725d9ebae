"""Echo: what each request costs a server, and how busy its load generator was meanwhile.

All servers are there at once, each with a load generator; one pair works at a time, the others wait
in their polls and cost nothing. So the rounds of all can be short and interleaved.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.children import child, module
from benchmarks.contenders import C, with_ours
from benchmarks.descriptors import allow
from benchmarks.driver import Plan, Sample, interleave
from benchmarks.echo_servers import servers

CONNECTIONS = (100, 1_000)
KINDS = ("protocol", "streams")
REQUESTS = 5_000  # in a round: some 30 ms
ONE_BY_ONE = 500  # of one connection: each waits for both sides to wake
WARMUP = 2  # rounds that are not counted


class Pair:
    """A server and its load generator; a round is a number of requests."""

    def __init__(self, load: subprocess.Popen[str], name: str) -> None:
        self._load = load
        self._name = name
        self._shares: list[tuple[float, float]] = []

    def run(self, requests: int) -> int:
        """Has so many requests answered; returns the server's nanoseconds of CPU time."""
        assert self._load.stdin is not None
        assert self._load.stdout is not None
        print(requests, file=self._load.stdin, flush=True)
        words = self._load.stdout.readline().split()
        if len(words) != 4:
            raise RuntimeError(f"the load on {self._name}'s echo server failed")
        answered, wall, load_time, server_time = map(int, words)
        self._shares.append((server_time / wall, load_time / wall))
        return server_time * requests // answered

    def notes(self) -> dict[str, float]:
        """Returns the shares of their processors that server and generator used."""
        server, load = zip(*self._shares, strict=True)
        return {"server_share": median(server), "load_share": median(load)}


def measure(plan: Plan) -> list[Sample]:
    """Measures server CPU time per request of 64 bytes, with 100 and with 1,000 connections."""
    allow(max(CONNECTIONS))
    fewer = replace(plan, rounds=max(1, plan.rounds // 3))
    samples: list[Sample] = []
    for count in CONNECTIONS:
        samples += requests(fewer, f"echo-{count}", count, (C, *servers()))
    return samples


def measure_loops(plan: Plan) -> list[Sample]:
    """Measures the same of event loops: by Protocol and by streams, 1 to 1,000 connections."""
    allow(max(CONNECTIONS))
    fewer = replace(plan, rounds=max(1, plan.rounds // 4))
    samples: list[Sample] = []
    for kind in KINDS:
        for count in (1, *CONNECTIONS):
            samples += requests(fewer, f"{kind}-{count}", count, (C, *with_ours()), kind)
        row = f"{kind}-churned"
        samples += requests(fewer, row, CONNECTIONS[0], (C, *with_ours()), kind, "churned")
    return samples


def requests(plan: Plan, row: str, count: int, names: Iterable[str], *words: str) -> list[Sample]:
    """Measures the servers of one row, which these words describe; so many connections each."""
    with ExitStack() as stack:
        pairs = {
            (row, name): stack.enter_context(pair(plan.native, count, name, *words))
            for name in names
        }
        loops = REQUESTS if count > 1 else ONE_BY_ONE
        for each in pairs.values():
            for _ in range(WARMUP):
                each.run(loops)
        rounds = {key: each.run for key, each in pairs.items()}
        found = interleave(rounds, plan, loops=loops)
        for sample in found:
            sample.notes = pairs[sample.row, sample.contender].notes()
    return found


@contextmanager
def pair(native: Path, count: int, name: str, *words: str) -> Iterator[Pair]:
    """Starts a server and its load generator on two processors, and ends them, the server first.

    Its port is then left to time out, and not one of ours for each connection.
    """
    processors = os.sched_getaffinity(0)
    server_command = module("echo_servers", *words, name)
    if name == C:
        server_command = [str(native / "echo_server")]
    with ExitStack() as stack:
        server = stack.enter_context(child(server_command))
        os.sched_setaffinity(server.pid, {min(processors)})
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        load_command = [str(native / "echo_load"), port, str(count), str(server.pid)]
        load = stack.enter_context(child(load_command, stdin=subprocess.PIPE))
        os.sched_setaffinity(load.pid, {max(processors)})
        yield Pair(load, name)
        server.kill()
