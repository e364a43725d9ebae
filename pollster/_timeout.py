"""Times as users write them, in the nanoseconds of the kernel contract."""

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta
    from typing import Any

__all__ = ["delay", "moment", "nanoseconds", "period"]

_LONGEST = (1 << 63) - 1  # 292 years, and never


def nanoseconds(timeout: "float | timedelta") -> int:
    """Returns a timeout in nanoseconds, rounded up; -1 for ever."""
    time = _duration(timeout, "timeout", "seconds, a timedelta or None", "None to wait for ever")
    return -1 if time == math.inf else min(int(time), _LONGEST)


def delay(seconds: "float | timedelta") -> int:
    """Returns how long until a timer expires, in nanoseconds, rounded up."""
    return int(min(_duration(seconds, "seconds", "a number or a timedelta"), _LONGEST))


def period(seconds: "float | timedelta") -> int:
    """Returns a timer's period in nanoseconds, rounded up."""
    time = _duration(seconds, "seconds", "a number or a timedelta")
    if time == 0:
        raise ValueError(f"seconds {seconds!r} is no period: pass more than 0")
    return int(min(time, _LONGEST))


def moment(deadline: float) -> int:
    """Returns a time of the monotonic clock in nanoseconds, rounded up; 0 for what is before it.

    What is beyond the clock is its last nanosecond but one: the last is for what is not set.
    """
    if isinstance(deadline, int):
        time: float = max(-1, min(deadline, _LONGEST)) * 1_000_000_000
    elif isinstance(deadline, float) or (
        hasattr(deadline, "__float__") and _microseconds(deadline) is None
    ):
        seconds = float(deadline)
        if math.isnan(seconds) or seconds == -math.inf:
            given = "NaN" if math.isnan(seconds) else "-inf"
            raise ValueError(f"deadline is {given}: pass seconds, as of time.monotonic()")
        time = seconds * 1e9
    else:
        raise TypeError(f"deadline must be seconds, as of time.monotonic(), not {deadline!r}")
    return min(math.ceil(min(max(time, 0), _LONGEST)), _LONGEST - 1)


def _duration(time: "Any", name: str, kinds: str, ever: str = "") -> float:
    """Returns nanoseconds, an integer or infinity. Raises what is wrong with a time."""
    wanted = f"pass 0 or more seconds{ever and ', or '}{ever}"
    microseconds = None if isinstance(time, int | float) else _microseconds(time)
    if microseconds is not None:
        found: float = microseconds * 1000
    elif isinstance(time, int):
        found = time * 1_000_000_000
    elif hasattr(time, "__float__"):
        seconds = float(time)
        if math.isnan(seconds):
            raise ValueError(f"{name} is NaN: {wanted}")
        if seconds == math.inf:
            return seconds
        # Away from zero, so that the smallest negative number is negative too.
        found = math.ceil(min(seconds * 1e9, 2.0**63)) if seconds >= 0 else -1
    else:
        raise TypeError(f"{name} must be {kinds}, not {time!r}")
    if found < 0:
        raise ValueError(f"{name} {time!r} is negative: {wanted}")
    return found


def _microseconds(time: object) -> int | None:
    """Returns those of a timedelta, None for what is none."""
    from datetime import timedelta  # here: it takes long to load, and most programs have none

    return time // timedelta(microseconds=1) if isinstance(time, timedelta) else None
