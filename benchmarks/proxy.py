"""A proxy: what a mebibyte costs examples/proxy, socat and haproxy.

examples/http has a file, curl reads it through each of them in turn.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_connection, create_server
from statistics import median

from benchmarks.children import child
from benchmarks.contenders import HAPROXY, POLLSTER, SOCAT, missing
from benchmarks.driver import Plan, Sample, interleave

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SIZE = 256  # MiB in a round: the kernel tells CPU time in hundredths of a second
HAPROXY_FILE = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
listen proxy
    bind 127.0.0.1:{port}
    server only 127.0.0.1:{behind}
"""


class Proxy:
    """A proxy that runs; a round is a number of downloads through it."""

    def __init__(self, pid: int, port: int) -> None:
        self._pid = pid
        self._command = ["curl", "-sf", "-o", os.devnull, f"http://127.0.0.1:{port}/large"]
        self._rates: list[float] = []

    def run(self, loops: int) -> int:
        """Downloads so often; returns the proxy's nanoseconds of CPU time."""
        before = self._spent()
        for _ in range(loops):
            begin = time.monotonic()
            subprocess.run(self._command, check=True)
            self._rates.append(SIZE / (time.monotonic() - begin))
        return self._spent() - before

    def _spent(self) -> int:
        """Returns its CPU time and that of its children, once there are none any more: proc(5)."""
        while Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text():
            os.sched_yield()
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def notes(self) -> dict[str, float]:
        """Returns how many mebibytes a second went through."""
        return {"byte_rate": median(self._rates)}


def measure(plan: Plan) -> list[Sample]:
    """Measures a proxy's CPU time per mebibyte; needs curl, and socat and haproxy beside it."""
    fewer = replace(plan, rounds=max(1, plan.rounds // 10))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with open(folder / "large", "wb") as large:
            large.truncate(SIZE << 20)
        serve = [sys.executable, str(EXAMPLES / "http"), str(folder), "--port", "0"]
        behind = printed_port(stack.enter_context(child(serve)))
        proxies = {
            ("proxy", name): stack.enter_context(proxy(name, folder, behind))
            for name in (POLLSTER, SOCAT, HAPROXY)
            if name not in missing()
        }
        rounds = {key: each.run for key, each in proxies.items()}
        samples = interleave(rounds, fewer, units=SIZE, loops=1)
        for sample in samples:
            sample.notes = proxies[sample.row, sample.contender].notes()
    return samples


def printed_port(process: "subprocess.Popen[str]") -> int:
    """Returns the port that a program has printed."""
    assert process.stdout is not None
    found = re.search(r"(\d+)/?$", process.stdout.readline())
    if found is None:
        raise RuntimeError("an example did not start: examples/http needs h11")
    return int(found[1])


@contextmanager
def proxy(name: str, folder: Path, behind: int) -> Iterator[Proxy]:
    """Starts a proxy in front of a port, and returns when it takes connections."""
    target = f"127.0.0.1:{behind}"
    if name == POLLSTER:
        command = [sys.executable, str(EXAMPLES / "proxy"), target, "--port", "0"]
        with child(command) as started:
            yield Proxy(started.pid, printed_port(started))
        return
    with create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    if name == SOCAT:
        command = ["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr", f"TCP:{target}"]
    else:
        file = folder / "haproxy.cfg"
        file.write_text(HAPROXY_FILE.format(port=port, behind=behind), encoding="utf-8")
        command = ["haproxy", "-q", "-f", str(file)]
    with child(command) as started:
        while started.poll() is None:
            try:
                create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                os.sched_yield()
        yield Proxy(started.pid, port)
