"""Who looks on as a Poll works, where somebody asked for that; see `observer.c`.

A `Log` is told of what was done, a `Spin` is asked about sources that are ready in each of many
polls. No lock is held meanwhile, and neither holds anything of the Poll.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pollster.backend.selector import Selector

__all__ = ["ENVIRONMENT_VARIABLE", "observe"]

ENVIRONMENT_VARIABLE = "POLLSTER_LOG"
_DEBUG = 10  # logging.DEBUG


def observe(selector: "Selector", log: bool | None) -> None:
    """Has somebody look on, if that is asked for: with `log`, by the environment, or by Python.

    Parameters: `log`, whether the program asks for it; None: it does not say.
    """
    wanted = _is_asked_for() if log is None else log
    logs = wanted or (log is None and _is_logged())
    if not logs and not sys.flags.dev_mode:
        return
    made = spin = None
    if logs:
        from pollster._log import Log

        made = Log(selector.name, wanted)
    if sys.flags.dev_mode:
        from pollster._spin import Spin

        spin = Spin()
    selector._observe(made, spin)
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
