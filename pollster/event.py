"""`Event`: one source is ready. It is made in C, many at a time: `backend/python/event.c`."""

from pollster.backend._python import Event

__all__ = ["Event"]
