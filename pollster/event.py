"""`Event`: one source is ready. It is C's, which makes many and keeps them: python_event.c."""

from pollster.backend._python import Event

__all__ = ["Event"]
