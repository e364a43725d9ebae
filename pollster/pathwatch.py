"""`PathWatch`: changes of a file or a directory."""

import errno
import os
from enum import STRICT, Flag

from pollster._watch import Watch

__all__ = ["PathChange", "PathWatch"]


class PathChange(Flag, boundary=STRICT):
    """What has changed about a path; several at once with `|`.

    WRITTEN: the file's content or size; a directory's entries. EXTENDED: the file has grown.
    ATTRIBUTES: mode, owner or times. LINKED: the file has more or fewer names. RENAMED: it was
    renamed, and so is gone from the path (with REPLACED: or back). DELETED: it is gone from the
    path. REPLACED: another file is at the path, by a rename or after it was gone, and is watched
    from now on.

    >>> from pollster import PathChange
    >>> PathChange.WRITTEN in PathChange.WRITTEN | PathChange.EXTENDED
    True
    """

    WRITTEN = 1
    EXTENDED = 2
    ATTRIBUTES = 4
    LINKED = 8
    RENAMED = 16
    DELETED = 32
    REPLACED = 64


_ALL = ~PathChange(0)


class PathWatch(Watch):
    """A source with an event when a file or a directory changes; `take()` says how.

    Parameters: `path`, of something that exists; symbolic links are followed, a relative path is
    one of the present working directory. `changes`, which to report. `backend`, as of `Poll`.

    It is the path that is watched: where the file is replaced (editors write another file and
    rename it), deleted or renamed, that is reported, and what comes to the path afterwards is
    reported as REPLACED and watched. Its directory must stay where it is for that: where it does
    not, only `take()` finds what is there again.

    Raises `FileNotFoundError`, `PermissionError` and the like where it can't be opened, `OSError`
    where a limit of the kernel is reached, with its cure.

    See: inotify(7); kevent(2) EVFILT_VNODE.

    >>> import tempfile
    >>> from pollster import Interest, PathWatch, Poll, Token
    >>> with tempfile.NamedTemporaryFile() as file, Poll() as poll:
    ...     with PathWatch(file.name) as watch:
    ...         poll.registry.register(watch, Token(1), Interest.READABLE)
    ...         _ = file.write(b"hello")
    ...         file.flush()
    ...         list(poll.poll())
    ...         watch.take()
    [<Event Token(1) readable>]
    <PathChange.WRITTEN|EXTENDED: 3>
    """

    __slots__ = ("_path",)

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        changes: PathChange = _ALL,
        *,
        backend: str | None = None,
    ) -> None:
        if type(changes) is not PathChange or changes is not PathChange(changes.value):
            raise TypeError(
                f"changes must be a PathChange, such as PathChange.WRITTEN; not {changes!r}"
            )
        if not changes:
            raise ValueError("changes is empty: name what to report, such as PathChange.WRITTEN")
        given = os.fsencode(path)
        if b"\0" in given:
            raise ValueError(f"{path!r} is no path: it has a null byte")
        self._path = os.fsdecode(given)
        super().__init__(backend)
        if not given:
            raise self._not_opened(errno.ENOENT)
        full = given if os.path.isabs(given) else os.path.join(os.getcwdb(), given)
        self._open(self._lib.watch_path(full, changes.value))

    @property
    def path(self) -> str:
        """The path, as it was given."""
        return self._path

    def take(self) -> PathChange:
        """Returns what has changed since this was last asked; what is empty is false.

        Raises `ValueError` once this is closed.
        """
        return PathChange(self._checked(self._lib.watch_take_path(self._watch)))

    def _not_opened(self, number: int) -> Exception:
        cures = {
            errno.EMFILE: "; the limit of open files (ulimit -n) or, on Linux, of watched paths "
            "(sysctl fs.inotify.max_user_instances) is reached: close some or raise it",
            errno.ENOSPC: "; the limit of watched files is reached: close some or raise it "
            "(sysctl fs.inotify.max_user_watches)",
        }
        return OSError(number, f"{os.strerror(number)}{cures.get(number, '')}", self._path)

    def __repr__(self) -> str:
        return f"<PathWatch {self._path!r}>"
