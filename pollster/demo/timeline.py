"""A picture in plain text of what each request did, and when.

This file owns the drawing. It knows neither sockets nor the terminal: times and a width come in,
lines go out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Span", "draw"]

CONNECTING, SENT, WAITING, ANSWERED, FAILED = "->.*x"
LEGEND = (
    f"{CONNECTING} connecting",
    f"{SENT} sent",
    f"{WAITING} waiting",
    f"{ANSWERED} answered",
    f"{FAILED} failed",
)
SHORTEST_BAR = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One request's time, in seconds since the demo began; `sent` is None if it never was."""

    number: int
    sent: float | None
    ended: float
    answered: bool


def draw(spans: Sequence[Span], width: int) -> str:
    """Returns a picture of `spans`, a line for each, in ASCII.

    Parameters: `spans`; `width`, the number of columns to fill. A terminal too narrow for bars of
    twenty columns gets those all the same.

    >>> print(draw([Span(number=1, sent=0.0, ended=0.5, answered=True)], 31))
       0 s           0.50 s
    1 |>..................*| 0.50 s
       - connecting  > sent
       . waiting  * answered
       x failed
    """
    end = max((span.ended for span in spans), default=0.0)
    numbers = max((len(str(span.number)) for span in spans), default=1)
    times = len(_seconds(end))
    length = max(width - numbers - times - len(" || "), SHORTEST_BAR)
    margin = " " * (numbers + len(" |"))

    lines = [f"{margin}0 s{_seconds(end):>{length - len('0 s')}}"]
    for span in spans:
        bar = _bar(span, end, length)
        lines.append(f"{span.number:>{numbers}} |{bar}| {_seconds(span.ended):>{times}}")
    lines.extend(f"{margin}{row}" for row in _rows(LEGEND, width - len(margin)))
    return "\n".join(lines)


def _bar(span: Span, end: float, length: int) -> str:
    """Returns the span as `length` characters, of which the last stands for `end`."""
    scale = (length - 1) / end if end else 0.0
    stop = round(span.ended * scale)
    start = stop if span.sent is None else round(span.sent * scale)
    bar = CONNECTING * start + SENT + WAITING * length
    return (bar[:stop] + (ANSWERED if span.answered else FAILED)).ljust(length)


def _rows(words: Sequence[str], width: int) -> list[str]:
    """Fills rows of at most `width` columns with `words`, breaking none of them."""
    rows = [words[0]]
    for word in words[1:]:
        longer = f"{rows[-1]}  {word}"
        if len(longer) <= width:
            rows[-1] = longer
        else:
            rows.append(word)
    return rows


def _seconds(moment: float) -> str:
    return f"{moment:.2f} s"
