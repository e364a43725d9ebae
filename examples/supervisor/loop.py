"""The loop: one Poll, and what to call for each of its sources."""

from collections.abc import Callable

from pollster import Interest, Poll, Slab, SourceLike, Token

__all__ = ["Loop"]


class Loop:
    """Calls a function for each source that is readable.

    Once a source was removed no event of it comes, not even from the batch that is being read. So
    every token that comes has its function here.
    """

    def __init__(self) -> None:
        self._poll = Poll()
        self._sources: Slab[tuple[SourceLike, Callable[[], object]]] = Slab()

    def add(self, source: SourceLike, callback: Callable[[], object]) -> Token:
        """Registers a source; returns the token to remove it by.

        Raises `OSError` where the kernel does not take it.
        """
        token = self._sources.insert((source, callback))
        try:
            self._poll.registry.register(source, token, Interest.READABLE)
        except OSError:
            self._sources.remove(token)
            raise
        return token

    def remove(self, token: Token) -> None:
        """Deregisters a source; it is closed after that and not before."""
        source, _ = self._sources.remove(token)
        self._poll.registry.deregister(source)

    def turn(self) -> None:
        """Waits for events, and makes the calls."""
        for event in self._poll.poll():
            _, callback = self._sources[event.token]
            callback()
