"""Where a back end does not do yet what a case states, though its kernel lets it."""

from dataclasses import dataclass

from case import LEVEL, Variant

from pollster import Trigger


@dataclass(frozen=True)
class Difference:
    """What is wrong, of which back end, for which triggers."""

    backend: str
    triggers: tuple[Trigger, ...]
    what: str

    def __str__(self) -> str:
        only = ", ".join(trigger.name for trigger in self.triggers)
        return f"{self.backend} ({only}), a known difference: {self.what}"


# By case. A case that has come to hold leaves this list: the tests see to it.
DIFFERENCES = {
    "a source that is ready in both directions takes one turn": Difference(
        "kqueue", (LEVEL,), "its second knote is still queued, and takes another turn"
    ),
}


def known(variant: Variant, *backends: str) -> Difference | None:
    """The difference that is about this run."""
    difference = DIFFERENCES.get(variant.case.name)
    if difference and difference.backend in backends and variant.trigger in difference.triggers:
        return difference
    return None
