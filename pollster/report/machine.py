"""The machine: versions, system, and the limits that a program with many sources meets."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cffi

import pollster
from pollster import backend as backends

__all__ = ["Limit", "limits", "versions"]

# Linux's, in proc(5); where they are not, there is nothing to tell.
_PROC = Path("/proc")
_WATCHES = _PROC / "sys/fs/epoll/max_user_watches"
_INOTIFY = _PROC / "sys/fs/inotify"

# The BSDs' and macOS's, in sysctl(8): each system knows some of them.
_SYSCTLS = ("kern.maxfiles", "kern.maxfilesperproc", "kern.kq_calloutmax", "kern.maxproc")


@dataclass(frozen=True)
class Limit:
    """A limit: its name, its number, and how much of it is taken; None: unlimited, or unknown."""

    name: str
    most: int | None
    used: int | None = None


def versions() -> dict[str, object]:
    """Returns what runs here, by name; values are texts, truths and lists of texts."""
    system = os.uname()
    here = backends.available()
    return {
        "pollster": pollster.__version__,
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "cffi": cffi.__version__,
        "system": system.sysname,
        "kernel": system.release,
        "architecture": system.machine,
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "backends": list(here),
        "default": _default(),
    }


def _default() -> str | None:
    with suppress(ValueError):
        return backends.resolve(None)
    return None


def limits() -> list[Limit]:
    """Returns the limits that this system tells."""
    return [*_of_process(), *_of_epoll(), *_of_inotify(), *_of_sysctl()]


def _of_process() -> Iterator[Limit]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Limit("descriptors", _finite(soft), _open_descriptors())
    yield Limit("descriptors, at most to be had", _finite(hard))
    for name in backends.available()[:1]:
        most = int(backends.load(name).lib.REGISTRATIONS_MAX)
        yield Limit("registrations of a Poll", most)


def _finite(number: int) -> int | None:
    return None if number == resource.RLIM_INFINITY else number


def _open_descriptors() -> int | None:
    """Counts them, but for the one that it takes to look."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return len(os.listdir(folder)) - 1
    return None


def _of_epoll() -> Iterator[Limit]:
    most = _number_in(_WATCHES)
    if most is not None:
        yield Limit("sources watched by a user", most)


def _of_inotify() -> Iterator[Limit]:
    instances = _number_in(_INOTIFY / "max_user_instances")
    watches = _number_in(_INOTIFY / "max_user_watches")
    if instances is None or watches is None:
        return
    used = _inotify_in_use()
    yield Limit("PathWatches of a user (inotify instances)", instances, used[0])
    yield Limit("paths watched by a user (inotify watches)", watches, used[1])


def _inotify_in_use() -> tuple[int, int]:
    """Counts the instances and watches of this user's processes, as far as they can be seen."""
    instances = watches = 0
    me = os.getuid()
    for process in _numbered(_PROC):
        with suppress(OSError):
            if process.stat().st_uid != me:
                continue
            for descriptor in _numbered(process / "fd"):
                with suppress(OSError):
                    if os.readlink(descriptor) == "anon_inode:inotify":
                        instances += 1
                        told = (process / "fdinfo" / descriptor.name).read_text("utf-8")
                        watches += told.count("inotify wd:")
    return instances, watches


def _numbered(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [folder / name for name in os.listdir(folder) if name.isdecimal()]
    return []


def _number_in(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text("utf-8"))
    return None


def _of_sysctl() -> Iterator[Limit]:
    command = shutil.which("sysctl", path=f"{os.defpath}:/sbin:/usr/sbin")
    for name in _SYSCTLS if command else ():
        with suppress(OSError, ValueError, subprocess.SubprocessError):
            told = subprocess.run(
                [str(command), "-n", name], capture_output=True, text=True, check=True, timeout=2
            )
            yield Limit(name, int(told.stdout))
