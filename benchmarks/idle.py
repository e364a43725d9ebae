"""What must not cost: sources that are idle, and what was registered before."""

from benchmarks import poll
from benchmarks.contenders import POLLSTER, RAW, SELECTORS, C
from benchmarks.descriptors import eventfds
from benchmarks.driver import Plan, Round, Sample, interleave

READY = 10
IDLE = 18_000
GONE_TIMES = 6  # so many times IDLE: more than 100,000


def measure(plan: Plan) -> list[Sample]:
    """Measures a poll that finds 10 events, per poll, beside what should not matter to it."""
    with eventfds(READY, ready=True) as ready, eventfds(IDLE, ready=False) as idle:
        cases = {
            "idle-0": poll.Sources(ready),
            "idle-1000": poll.Sources(ready, idle=idle[:1_000]),
            "idle-18000": poll.Sources(ready, idle=idle),
            "idle-gone": poll.Sources(ready, gone=idle, gone_times=GONE_TIMES),
        }
        contenders: dict[tuple[str, str], Round] = {}
        for row, sources in cases.items():
            contenders[row, C] = poll.c(plan, sources)
            contenders[row, RAW] = poll.raw(sources)
            contenders[row, SELECTORS] = poll.selector(sources)
            contenders[row, POLLSTER] = poll.pollster(sources)
        return interleave(contenders, plan)
