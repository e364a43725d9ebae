"""What is answered: files of a folder, and /echo. Nothing here knows a socket."""

import errno
import json
import mimetypes
import os
import re
import stat
import time
from contextlib import ExitStack
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import h11

AUTHORITY = re.compile(rb"https?://[^/]*", re.IGNORECASE)  # a proxy may be sent one
RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})")  # one range; others are ignored
FULL = {errno.EMFILE, errno.ENFILE}


class Answer(NamedTuple):
    """A response: its head, then `body`, or `left` bytes of `file`, which the receiver closes."""

    head: h11.Response
    body: bytes = b""
    file: BinaryIO | None = None
    left: int = 0


@lru_cache
def made(second: int, status: int, length: int, kind: str, *more: tuple[str, str]) -> h11.Response:
    """Makes the head of a response; one like it in the same second is the same."""
    headers = [("date", formatdate(second, usegmt=True)), ("content-type", kind)]
    headers += [("content-length", str(length)), *more]
    return h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)


def text(status: int, *more: tuple[str, str]) -> Answer:
    """Returns an answer that says its status, and nothing else."""
    body = f"{status} {HTTPStatus(status).phrase}\n".encode()
    return Answer(made(int(time.time()), status, len(body), "text/plain", *more), body)


def answer(root: str, request: h11.Request, body: bytes) -> Answer:
    """Returns the answer to a request; it raises nothing, whatever that is."""
    path = request.target.partition(b"?")[0]
    if not path.startswith(b"/"):
        path = AUTHORITY.sub(b"", path, count=1)
    allowed = ("GET", "HEAD", "POST") if path == b"/echo" else ("GET", "HEAD")
    if request.method.decode() not in allowed:
        return text(405, ("allow", ", ".join(allowed)))
    if path == b"/echo":
        return echo(request, body)
    try:
        return static(root, os.fsdecode(unquote_to_bytes(path)), request)
    except PermissionError:
        return text(403)
    except OSError as error:
        return text(503 if error.errno in FULL else 404)
    except ValueError:  # a null character
        return text(404)


def echo(request: h11.Request, body: bytes) -> Answer:
    """Returns what was asked, in JSON."""
    try:
        value = json.loads(body) if body else None
        said = {"method": request.method.decode(), "target": request.target.decode(), "json": value}
        echoed = json.dumps(said, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return text(400)
    return Answer(made(int(time.time()), 200, len(echoed), "application/json"), echoed)


def static(root: str, path: str, request: h11.Request) -> Answer:
    """Returns a file, or the part that is asked for. Raises `OSError` where there is none."""
    place = inside(root, os.path.join(root, path.lstrip("/")))
    if path.endswith("/"):
        place = inside(root, os.path.join(place, "index.html"))  # which may be a link, too
    elif os.path.isdir(place):
        _, mark, query = request.target.decode().partition("?")
        name = quote(os.path.basename(os.fsencode(path)))
        return text(301, ("location", f"{name}/{mark}{query}"))
    with ExitStack() as undo:
        # Since then nobody has put a link there; and to open a pipe waits for no writer.
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        file = undo.enter_context(open(fd, "rb", buffering=0))
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            return text(404)
        status, begin, end = part(request, about.st_size)
        span = "*" if status == 416 else f"{begin}-{end - 1}"
        more = [] if status == 200 else [("content-range", f"bytes {span}/{about.st_size}")]
        if status == 416:
            return text(416, *more)
        kind = mimetypes.guess_type(place)[0] or "application/octet-stream"
        head = made(int(time.time()), status, end - begin, kind, ("accept-ranges", "bytes"), *more)
        if begin == end or request.method == b"HEAD":
            return Answer(head)
        file.seek(begin)
        undo.pop_all()
        return Answer(head, file=file, left=end - begin)


def inside(root: str, path: str) -> str:
    """Returns where a path leads. Raises `FileNotFoundError` where that is not in the folder."""
    real = os.path.realpath(path)
    if os.path.commonpath((root, real)) != root:
        raise FileNotFoundError(path)
    return real


def part(request: h11.Request, size: int) -> tuple[int, int, int]:
    """Returns the status, and which bytes are asked for: from one to before another."""
    headers = dict(request.headers)
    found = RANGE.fullmatch(headers.get(b"range", b""))
    if not found or request.method != b"GET" or b"if-range" in headers:
        return 200, 0, size
    first, last = found.groups()
    if not first:  # the last so many
        begin, end = max(0, size - int(last or 0)), size
    else:
        begin, end = int(first), min(size, int(last) + 1 if last else size)
    if not first + last or (first and last and int(last) < int(first)):
        return 200, 0, size  # that is no range
    return 206 if begin < end else 416, begin, end
