"""Timeouts as users write them, in the nanoseconds of the kernel contract."""

import math
from datetime import timedelta

__all__ = ["nanoseconds"]

_LONGEST = (1 << 63) - 1  # 292 years


def nanoseconds(timeout: float | timedelta) -> int:
    """Returns a timeout in nanoseconds, rounded up; -1 for ever."""
    if isinstance(timeout, timedelta):
        nanoseconds = timeout // timedelta(microseconds=1) * 1000
    elif isinstance(timeout, int):
        nanoseconds = timeout * 1_000_000_000
    elif isinstance(timeout, float) or hasattr(timeout, "__float__"):
        seconds = float(timeout)
        if seconds == math.inf:
            return -1
        if math.isnan(seconds):
            raise ValueError("timeout is NaN: pass seconds, 0 or more, or None to wait for ever")
        # Away from zero, so that the smallest negative number is negative too.
        nanoseconds = math.ceil(min(seconds * 1e9, 2.0**63)) if seconds >= 0 else -1
    else:
        raise TypeError(f"timeout must be seconds, a timedelta or None, not {timeout!r}")
    if nanoseconds < 0:
        raise ValueError(
            f"timeout {timeout!r} is negative: pass 0 or more seconds, or None to wait for ever"
        )
    return min(nanoseconds, _LONGEST)
