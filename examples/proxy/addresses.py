"""Where to connect to: all addresses of some names, in the order in which they are tried."""

import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

Target = tuple[socket.AddressFamily, Any]


def resolve(names: Iterable[str]) -> list[Target]:
    """Returns the addresses of HOST:PORT names. Raises `OSError` where there are none.

    It asks the resolver, and waits for it: before the loop begins there is nobody to keep waiting.
    """
    found: list[Target] = []
    for name in names:
        host, _, port = name.rpartition(":")
        for family, *_, address in socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM
        ):
            found.append((family, address))
    return alternate(found)


def alternate(found: list[Target]) -> list[Target]:
    """Has the families take turns, so that one that is broken delays but one: RFC 8305, 4."""
    first = [target for target in found if target[0] == found[0][0]]
    others = [target for target in found if target[0] != found[0][0]]
    return [target for target in chain(*zip_longest(first, others)) if target]
