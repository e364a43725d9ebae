"""What the kernel behind a back end has, found out by trying it."""

import os
from dataclasses import dataclass

from pollster import backend as backends

__all__ = ["Feature", "features"]

_ROOM = 32
_UNKNOWN = -1  # as selector.h has it


@dataclass(frozen=True)
class Feature:
    """Something that a kernel has or lacks: its name, whether it works, what there is to say."""

    name: str
    works: bool
    about: str


def features(backend: str) -> list[Feature]:
    """Returns what was tried in a back end's kernel."""
    module = backends.load(backend)
    ffi, lib = module.ffi, module.lib
    found = ffi.new("feature[]", _ROOM)
    return [
        Feature(
            ffi.string(each.name).decode(),
            each.error == 0,
            _about(ffi.string(each.about).decode(), each.error),
        )
        for each in found[0 : lib.selector_features(found, _ROOM)]
    ]


def _about(said: str, error: int) -> str:
    if error == 0:
        return said
    reason = "not known to this build" if error == _UNKNOWN else os.strerror(error)
    return f"{said}: {reason}" if said else reason
