"""Echo: what each request costs a server, and how busy its load generator was meanwhile."""

import os
import random
import subprocess

from benchmarks.children import child, module
from benchmarks.contenders import C
from benchmarks.descriptors import allow
from benchmarks.driver import Plan, Sample
from benchmarks.echo_servers import servers

CONNECTIONS = (100, 1_000)


def measure(plan: Plan) -> list[Sample]:
    """Measures server CPU time per request of 64 bytes, with 100 and with 1,000 connections."""
    allow(max(CONNECTIONS))
    turns = [(count, name) for count in CONNECTIONS for name in (C, *servers())]
    random.Random(plan.seed).shuffle(turns)
    return [serve(plan, count, name) for count, name in turns]


def serve(plan: Plan, count: int, contender: str) -> Sample:
    """Runs one server, in a process of its own, under load."""
    own = min(os.sched_getaffinity(0))
    others = max(os.sched_getaffinity(0))
    warmup, duration = (50, 150) if plan.quick else (200, 600)  # milliseconds
    command = (
        [str(plan.native / "echo_server")] if contender == C else module("echo_servers", contender)
    )
    with child(command) as server:
        os.sched_setaffinity(server.pid, {own})
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        load = [plan.native / "echo_load", port, count, warmup, duration, server.pid]
        with child([str(word) for word in load], stdin=subprocess.PIPE) as generator:
            os.sched_setaffinity(generator.pid, {others})
            assert generator.stdout is not None
            words = generator.stdout.readline().split()
            server.kill()
    if len(words) != 4:
        raise RuntimeError(f"the load of {contender}'s echo server with {count} failed")
    requests, wall, load_time, server_time = map(int, words)
    return Sample(
        f"echo-{count}",
        contender,
        [server_time / requests / 1e9],
        notes={"server_share": server_time / wall, "load_share": load_time / wall},
    )
