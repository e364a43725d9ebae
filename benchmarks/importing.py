"""The import: what a program pays before its own first line, in processes of its own."""

import os
import sys

from benchmarks.children import child
from benchmarks.contenders import ASYNCIO, POLLSTER
from benchmarks.driver import Plan, Sample

# Of both: whoever waits for sockets has imported socket, and cffi's module is not pollster's.
CODE = """
import socket, time
import _cffi_backend
begin = time.thread_time_ns()
import {}
print(time.thread_time_ns() - begin)
"""


def measure(plan: Plan) -> list[Sample]:
    """Measures `import pollster`, and `import asyncio`, after `import socket`."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(plan.native / "bytecode")
    samples = [Sample("import", contender, []) for contender in (POLLSTER, ASYNCIO)]
    for contender in (POLLSTER, ASYNCIO):
        imported(contender)  # from now on its bytecode is there
    for _ in range(max(1, plan.rounds // 3)):
        for sample in samples:
            sample.values.append(imported(sample.contender))
    return samples


def imported(module: str) -> float:
    """Returns the CPU time of importing a module in a fresh process, in seconds."""
    with child([sys.executable, "-c", CODE.format(module)]) as process:
        output, _ = process.communicate()
    return int(output) / 1e9
