"""Orphans: processes that nobody else waits for, which fall to process 1 and to a subreaper."""

import os
from collections.abc import Collection

__all__ = ["reap"]


def reap(children: Collection[int | None]) -> None:
    """Waits for all that have ended, but not for the supervisor's own children.

    Those are looked at, not taken: their statuses are for who started them. Behind such a child
    others can't be seen, so this is to be called again after it was waited for.

    Source: waitid(2), WNOWAIT; prctl(2), PR_SET_CHILD_SUBREAPER.
    """
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    try:
        while (ended := os.waitid(os.P_ALL, 0, look)) and ended.si_pid not in children:
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:
        return
