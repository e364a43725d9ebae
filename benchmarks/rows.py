"""The rows of the table: what is measured, and how much pollster may cost at most.

The aims are hard and meant so; below a floor the work is not done.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """What a ratio may be at most: the aim, and the floor where there is one."""

    aim: float
    floor: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table: `key` is its name in the JSON."""

    key: str
    work: str
    raw: Limit | None = None
    """pollster / raw; of a row in bytes, pollster's bytes themselves."""
    selectors: Limit | None = None
    """pollster / selectors"""
    asyncio: Limit | None = None
    """pollster / asyncio"""
    uvloop: Limit | None = None
    """pollster's event loop / uvloop"""
    uvicorn: Limit | None = None
    """pollster / uvicorn"""


ROWS = (
    Row("poll-1", "poll and iterate, per event, 1", Limit(1.15, 1.50), Limit(0.58, 0.75)),
    Row("poll-10", "... of 10", Limit(1.00, 1.15), Limit(0.42, 0.50)),
    Row("poll-100", "... of 100", Limit(0.85, 1.00), Limit(0.38, 0.45)),
    Row("poll-1000", "... of 1,000", Limit(0.82, 0.95), Limit(0.38, 0.45)),
    Row("poll-10000", "... of 10,000", Limit(0.75, 0.85), Limit(0.40, 0.45)),
    Row("register", "register and deregister one", Limit(1.35), Limit(0.60, 0.75)),
    Row("reregister", "reregister, nothing changed", Limit(1.60), Limit(0.30, 0.40)),
    Row("reregister-changes", "reregister, interest changes"),
    Row("batch", "register 1,000 in a batch, per source", Limit(0.95), Limit(0.40)),
    Row("select-1", "select() of a selector, per event, 1", selectors=Limit(0.70)),
    Row("select-10", "... of 10", selectors=Limit(0.55)),
    Row("select-100", "... of 100", selectors=Limit(0.55)),
    Row("select-1000", "... of 1,000", selectors=Limit(0.55)),
    Row("select-register", "... register and unregister", selectors=Limit(1.05)),
    Row("select-modify", "... modify, events change", selectors=Limit(0.85)),
    Row("wake", "wake a waiting poll, round trip", Limit(0.95), Limit(0.65)),
    Row("echo-100", "echo, CPU per request, 100 connections", Limit(1.00), Limit(0.97)),
    Row("echo-1000", "echo, CPU per request, 1,000 connections", Limit(1.00), Limit(0.97)),
    Row("memory", "resident bytes per source, registered", Limit(120), Limit(0.85)),
    Row("memory-reported", "resident bytes per source, reported once"),
)

BESIDE_ASYNCIO = (
    Row("timers-schedule", "make and register a timer, of 100,000", asyncio=Limit(0.35)),
    Row("timers-cancel", "stop it: cancel()", asyncio=Limit(0.35)),
    Row("timers-close", "be done with it: close()", asyncio=Limit(0.35)),
    Row("timers-run", "report one and call its callback, of 10,000", asyncio=Limit(0.35)),
    Row("timers-run-close", "... and be done with it", asyncio=Limit(0.35)),
    Row("timers-run-once", "... one that was made with once=True", asyncio=Limit(0.35)),
    Row("exit", "have waited for a child, after it ended", asyncio=Limit(1.00)),
    Row("import", "import it, where socket is imported", asyncio=Limit(0.25)),
)

LOOPS = (
    Row(
        "protocol-1",
        "echo by a Protocol, CPU per request, 1 connection",
        asyncio=Limit(0.90),
        uvloop=Limit(1.00, 1.10),
    ),
    Row("protocol-100", "... of 100", asyncio=Limit(0.80), uvloop=Limit(1.00, 1.10)),
    Row("protocol-1000", "... of 1,000", asyncio=Limit(0.88), uvloop=Limit(1.00, 1.10)),
    Row(
        "protocol-churned",
        "... of 100, churned heap",
        asyncio=Limit(0.80),
        uvloop=Limit(1.00, 1.10),
    ),
    Row(
        "streams-1",
        "echo by streams, CPU per request, 1 connection",
        asyncio=Limit(0.95),
        uvloop=Limit(1.10),
    ),
    Row("streams-100", "... of 100", asyncio=Limit(0.95), uvloop=Limit(1.10)),
    Row("streams-1000", "... of 1,000", asyncio=Limit(0.95), uvloop=Limit(1.10)),
    Row("streams-churned", "... of 100, churned heap", asyncio=Limit(0.95), uvloop=Limit(1.10)),
    Row("loop-wake", "call_soon_threadsafe, round trip", asyncio=Limit(0.70)),
    Row("loop-burst", "... 500 at once, CPU of both threads", asyncio=Limit(0.30)),
    Row("loop-sleep", "sleep(0.0001)", asyncio=Limit(0.30)),
    Row("loop-receive", "receive 1 MiB, CPU", asyncio=Limit(1.05)),
    Row("loop-send", "send 1 MiB, CPU", asyncio=Limit(1.05)),
    Row("loop-children", "100 children started and awaited, CPU", asyncio=Limit(1.05)),
)

BESIDE_UVICORN = (
    Row("http-1", "HTTP, CPU per request, 1 connection", uvicorn=Limit(0.60)),
    Row("http-100", "... 100 connections", uvicorn=Limit(0.60)),
)

BESIDE_PROXIES = (Row("proxy", "a proxy, CPU per MiB"),)

NOT_TO_GROW = 1.10
"""What a poll may cost, at most, of what it costs without any of these."""

GROWTH_BASE = Row("idle-0", "10 ready, 0 idle")
GROWTH = (
    Row("idle-1000", "10 ready, 1,000 idle"),
    Row("idle-18000", "10 ready, 18,000 idle"),
    Row("idle-gone", "10 ready, 108,000 registered before"),
)
