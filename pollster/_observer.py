"""`Observer`: who looks on as a Poll works, where somebody asked for that; see `observer.c`.

It is told of what was done, when that is done and no lock is held, and it can't fail: what it has
to say is for people. It holds nothing of the Poll.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pollster._log import Log
    from pollster._spin import Spin
    from pollster.backend.selector import Selector

__all__ = ["ENVIRONMENT_VARIABLE", "Observer", "observe"]

ENVIRONMENT_VARIABLE = "POLLSTER_LOG"
_DEBUG = 10  # logging.DEBUG


class Observer:
    """What `observer.c` calls, and the Python code where it does without that.

    Parameters: `log`, where to tell what is done; `spin`, who is asked about sources that are ready
    in each of many polls. Either may be None.
    """

    __slots__ = ("log", "spin")

    def __init__(self, log: "Log | None", spin: "Spin | None") -> None:
        self.log = log
        self.spin = spin

    def changed(
        self,
        what: int,
        source: object,
        fd: int,
        token: int,
        interest: int,
        trigger: int,
        error: int,
        dropped: bool,
    ) -> None:
        """A change was made, or refused with an errno. `dropped`: and a stale registration."""
        if self.log:
            self.log.changed(what, source, fd, token, interest, trigger, error, dropped)

    def spent(self, token: int) -> None:
        """A timer for a single use was reported."""
        if self.log:
            self.log.spent(token)

    def remarked(self, what: int, fd: int, token: int) -> None:
        """The selector came upon something: see `remarked` in selector.h."""
        if self.log:
            self.log.remarked(what, fd, token)

    def suspected(self, selector: "Selector", index: int, for_good: bool) -> bool:
        """A source was ready in each of many polls. True: it need not be asked again."""
        return self.spin is None or self.spin.suspected(selector, index, for_good)


def observe(selector: "Selector", log: bool | None) -> None:
    """Has somebody look on, if that is asked for: with `log`, by the environment, or by Python.

    Parameters: `log`, whether the program asks for it; None: it does not say.
    """
    wanted = _is_asked_for() if log is None else log
    if not wanted and (log is False or not _is_logged()) and not sys.flags.dev_mode:
        return
    made = spin = None
    if wanted or (log is None and _is_logged()):
        from pollster._log import Log

        made = Log(selector.name, wanted)
    if sys.flags.dev_mode:
        from pollster._spin import Spin

        spin = Spin()
    selector._observe(Observer(made, spin), made is not None, spin is not None)
    if made:
        made.opened()
        selector._tell_remarks()


def _is_asked_for() -> bool:
    return os.environ.get(ENVIRONMENT_VARIABLE, "0") not in ("", "0")


def _is_logged() -> bool:
    """Whether the program has set the level of logging so; not where it never imported that."""
    logging = sys.modules.get("logging")
    find = getattr(logging, "getLogger", None)  # it may be importing still
    return find is not None and find("pollster").isEnabledFor(_DEBUG)
