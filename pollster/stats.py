"""`Stats`: what a Poll has done, in numbers."""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple

__all__ = ["Stats"]


if TYPE_CHECKING:

    class _Fields(NamedTuple):
        polls: int
        timeouts: int
        interrupts: int
        events: int
        stale: int
        wakes_asked: int
        wakes_told: int
        waits: int
        changes: int
        ghosts: int
        moves: int
        registrations: int
        registrations_most: int
        timers: int
        hung_pipes: int

else:
    _Fields = namedtuple(  # noqa: PYI024
        "_Fields",
        "polls timeouts interrupts events stale wakes_asked wakes_told waits changes ghosts "
        "moves registrations registrations_most timers hung_pipes",
    )


class Stats(_Fields):
    """What a Poll has done since it was opened, and what it has now; see `Poll.stats()`.

    Two of them subtract: `after - before` is what was done between, in the same fields.

    `polls`: waits that came to an end; `timeouts`: those of them that found nothing; `interrupts`:
    how often a signal made a wait begin again (EINTR). `events`: what was reported; `stale`: what
    the kernel told of registrations that had ended, and was dropped. `wakes_asked`, `wakes_told`:
    calls of `Waker.wake()`, and the events of them. `waits`, `changes`: system calls that wait, and
    that change what is registered. `ghosts`, `moves`: on epoll, sources that were closed and went
    on reporting, and new queues that left them behind. `registrations`, `registrations_most`: how
    many there are, and have been at once, wakers and timers included. `timers`: those that are set.
    `hung_pipes`: on kqueue, pipes without a reader, that pollster reports itself.

    >>> from pollster import Poll, Token, Waker
    >>> with Poll() as poll:
    ...     before = poll.stats()
    ...     waker = Waker(poll.registry, Token(1))
    ...     waker.wake()
    ...     _ = poll.poll()
    ...     done = poll.stats() - before
    ...     done.polls, done.events, done.wakes_asked, done.wakes_told, done.registrations
    (1, 1, 1, 1, 1)
    """

    __slots__ = ()

    def __sub__(self, before: "Stats") -> "Stats":
        if not isinstance(before, Stats):
            return NotImplemented
        return Stats(*(now - then for now, then in zip(self, before, strict=True)))
