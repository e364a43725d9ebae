"""Files and directories: what changed, put together until it is retrieved."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from linux_kqueue import Filter, Flag, Kevent, LinuxKqueue, Vnode
from replay import PATIENCE, is_asleep, wait_until

ADD, CLEAR, DELETE, ONESHOT = Flag.ADD, Flag.CLEAR, Flag.DELETE, Flag.ONESHOT
USUAL = Vnode(0x7F)  # all but OPEN, CLOSE, CLOSE_WRITE and READ
NOTHING = Vnode(0)


class Watched:
    """A file or a directory that is open, with its knote."""

    def __init__(self, system: LinuxKqueue, kq: int, path: Path) -> None:
        self.system, self.kq = system, kq
        self.fd = os.open(path, os.O_RDONLY)

    def change(self, flags: int, fflags: int = USUAL) -> None:
        self.system.kevent(self.kq, [Kevent(self.fd, Filter.VNODE, flags, fflags)])

    def events(self) -> list[Kevent]:
        return self.system.kevent(self.kq, room=4)

    def changes(self) -> Vnode:
        """Returns what came, in one event; inotify(7) has queued it when a call returns."""
        events = self.events()
        assert [event.ident for event in events] in ([], [self.fd])
        return Vnode(events[0].fflags) if events else NOTHING


@pytest.fixture
def watch(system: LinuxKqueue, kq: int) -> Iterator[Callable[..., Watched]]:
    """Opens and watches a path."""
    opened: list[Watched] = []

    def watch(path: Path, flags: int = CLEAR, fflags: int = USUAL) -> Watched:
        watched = Watched(system, kq, path)
        opened.append(watched)
        watched.change(ADD | flags, fflags)
        return watched

    yield watch
    for watched in opened:
        os.close(watched.fd)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "old").write_bytes(b"12345")
    (path / "sub").mkdir()
    return path


Watch = Callable[..., Watched]


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"new")
    new.rename(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"6")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"6")


FILE_CHANGES: dict[str, tuple[Callable[[Path], object], Vnode]] = {
    "append": (append, Vnode.WRITE | Vnode.EXTEND),
    "overwrite": (overwrite, Vnode.WRITE),
    "truncate": (lambda path: os.truncate(path, 0), Vnode.ATTRIB),
    "write anew, longer": (lambda p: p.write_bytes(b"123456"), Vnode.WRITE | Vnode.EXTEND),
    "write anew, shorter": (
        lambda path: path.write_bytes(b"1"),
        Vnode.ATTRIB | Vnode.WRITE | Vnode.EXTEND,
    ),
    "chmod": (lambda path: path.chmod(0o600), Vnode.ATTRIB),
    "utime": (lambda path: os.utime(path, (1, 1)), Vnode.ATTRIB),
    "link": (lambda path: path.with_name("second").hardlink_to(path), Vnode.LINK),
    "rename": (lambda path: path.rename(path.with_name("other")), Vnode.RENAME),
    "unlink": (lambda path: path.unlink(), Vnode.DELETE),
    "replaced by a rename": (replace, Vnode.DELETE),
    "read": (lambda path: path.read_bytes(), NOTHING),
}


@pytest.mark.parametrize("name", FILE_CHANGES)
def test_a_change_of_a_file(file: Path, watch: Watch, name: str) -> None:
    act, expected = FILE_CHANGES[name]
    watched = watch(file)
    act(file)
    assert watched.changes() == expected
    assert watched.changes() == NOTHING


DIRECTORY_CHANGES: dict[str, tuple[Callable[[Path], object], Vnode]] = {
    "create": (lambda path: (path / "new").touch(), Vnode.WRITE),
    "symlink": (lambda path: (path / "new").symlink_to("old"), Vnode.WRITE),
    "link": (lambda path: (path / "new").hardlink_to(path / "old"), Vnode.WRITE),
    "unlink": (lambda path: (path / "old").unlink(), Vnode.WRITE),
    "mkdir": (lambda path: (path / "new").mkdir(), Vnode.WRITE | Vnode.LINK),
    "rmdir": (lambda path: (path / "sub").rmdir(), Vnode.WRITE | Vnode.LINK),
    "rename within": (lambda path: (path / "old").rename(path / "new"), Vnode.WRITE),
    "rename a directory within": (lambda path: (path / "sub").rename(path / "new"), Vnode.WRITE),
    "replace within": (lambda path: replace(path / "old"), Vnode.WRITE),
    "move out": (
        lambda path: (path / "old").rename(path.with_name("out")),
        Vnode.WRITE | Vnode.EXTEND,
    ),
    "move a directory out": (
        lambda path: (path / "sub").rename(path.with_name("out")),
        Vnode.WRITE | Vnode.EXTEND | Vnode.LINK,
    ),
    "write to what is in it": (lambda path: (path / "old").write_bytes(b"1"), NOTHING),
    "chmod of what is in it": (lambda path: (path / "old").chmod(0o600), NOTHING),
    "chmod": (lambda path: path.chmod(0o700), Vnode.ATTRIB),
    "rename": (lambda path: path.rename(path.with_name("other")), Vnode.RENAME),
}


@pytest.mark.parametrize("name", DIRECTORY_CHANGES)
def test_a_change_of_a_directory(directory: Path, watch: Watch, name: str) -> None:
    act, expected = DIRECTORY_CHANGES[name]
    watched = watch(directory)
    act(directory)
    assert watched.changes() == expected
    assert watched.changes() == NOTHING


def test_a_directory_that_is_removed(tmp_path: Path, watch: Watch) -> None:
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    new.parent.mkdir()
    old.mkdir()
    watched = watch(old)
    old.rename(new)
    assert watched.changes() == Vnode.RENAME
    new.rmdir()
    assert watched.changes() == Vnode.DELETE
    assert watched.changes() == NOTHING


def test_a_directory_that_another_is_renamed_over(tmp_path: Path, watch: Watch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    watched = watch(old)
    new.rename(old)
    assert Vnode.DELETE in watched.changes()


def test_changes_are_put_together_until_they_are_retrieved(file: Path, watch: Watch) -> None:
    watched = watch(file)
    append(file)
    file.chmod(0o600)
    moved = file.rename(file.with_name("moved"))
    assert watched.changes() == Vnode.WRITE | Vnode.EXTEND | Vnode.ATTRIB | Vnode.RENAME
    moved.unlink()
    assert watched.changes() == Vnode.DELETE


def test_without_clear_they_stay(file: Path, watch: Watch) -> None:
    watched = watch(file, flags=0)
    file.chmod(0o600)
    assert watched.changes() == Vnode.ATTRIB
    overwrite(file)
    assert watched.changes() == Vnode.ATTRIB | Vnode.WRITE
    assert watched.changes() == Vnode.ATTRIB | Vnode.WRITE


def test_only_what_was_asked_for_comes(file: Path, watch: Watch) -> None:
    watched = watch(file, fflags=Vnode.ATTRIB)
    overwrite(file)
    assert watched.changes() == NOTHING
    file.chmod(0o600)
    overwrite(file)
    assert watched.changes() == Vnode.ATTRIB


def test_adding_again_asks_for_something_else_and_keeps_what_came(file: Path, watch: Watch) -> None:
    watched = watch(file, fflags=Vnode.ATTRIB)
    file.chmod(0o600)
    overwrite(file)
    watched.change(ADD | CLEAR, Vnode.WRITE | Vnode.CLOSE_WRITE)
    file.chmod(0o640)
    assert watched.changes() == Vnode.ATTRIB
    overwrite(file)
    assert watched.changes() == Vnode.WRITE | Vnode.CLOSE_WRITE


def test_opening_reading_and_closing(file: Path, watch: Watch) -> None:
    watched = watch(file, fflags=Vnode.OPEN | Vnode.READ | Vnode.CLOSE | Vnode.CLOSE_WRITE)
    reader = os.open(file, os.O_RDONLY)
    assert watched.changes() == Vnode.OPEN
    os.read(reader, 1)
    assert watched.changes() == Vnode.READ
    os.close(reader)
    assert watched.changes() == Vnode.CLOSE
    overwrite(file)
    assert watched.changes() == Vnode.OPEN | Vnode.CLOSE_WRITE


def test_disabled_it_collects_and_enabled_it_tells(file: Path, watch: Watch) -> None:
    watched = watch(file, flags=CLEAR | Flag.DISABLE)
    file.chmod(0o600)
    assert watched.changes() == NOTHING
    overwrite(file)
    watched.change(Flag.ENABLE)
    assert watched.changes() == Vnode.ATTRIB | Vnode.WRITE


def test_dispatched_it_tells_once_until_enabled(file: Path, watch: Watch) -> None:
    watched = watch(file, flags=CLEAR | Flag.DISPATCH)
    file.chmod(0o600)
    assert watched.changes() == Vnode.ATTRIB
    overwrite(file)
    assert watched.changes() == NOTHING
    watched.change(Flag.ENABLE)
    assert watched.changes() == Vnode.WRITE


def test_one_shot_it_tells_once_and_is_gone(file: Path, watch: Watch) -> None:
    watched = watch(file, flags=ONESHOT)
    file.chmod(0o600)
    overwrite(file)
    assert watched.changes() == Vnode.ATTRIB | Vnode.WRITE
    with pytest.raises(FileNotFoundError):
        watched.change(DELETE)


def test_a_receipt_is_no_change(file: Path, system: LinuxKqueue, kq: int) -> None:
    with file.open() as opened:
        change = Kevent(opened.fileno(), Filter.VNODE, ADD | Flag.RECEIPT, USUAL)
        (receipt,) = system.kevent(kq, [change], room=4)
    assert (receipt.flags, receipt.data) == (Flag.ERROR, 0)


def test_two_descriptors_of_a_file_hear_of_it_each(file: Path, watch: Watch, kq: int) -> None:
    first, second = watch(file), watch(file)
    file.chmod(0o600)
    assert {event.ident for event in first.events()} == {first.fd, second.fd}


def test_a_closed_descriptor_says_nothing_more(file: Path, watch: Watch) -> None:
    watched = watch(file)
    file.chmod(0o600)
    os.close(watched.fd)
    assert watched.events() == []
    again = os.open(file, os.O_RDONLY)
    assert again == watched.fd
    file.chmod(0o640)
    assert watched.events() == []
    with pytest.raises(FileNotFoundError):
        watched.change(DELETE)
    watched.change(ADD | CLEAR)
    assert watched.changes() == NOTHING


def test_a_number_that_names_another_file_by_now_has_no_knote(
    tmp_path: Path, file: Path, watch: Watch
) -> None:
    watched = watch(file)
    other = os.open(tmp_path, os.O_RDONLY)
    os.dup2(other, watched.fd)
    os.close(other)
    file.chmod(0o600)
    assert watched.events() == []
    with pytest.raises(FileNotFoundError):
        watched.change(DELETE)


def test_what_is_no_file_is_refused(system: LinuxKqueue, kq: int) -> None:
    ours, peer = socket.socketpair()
    reader, writer = os.pipe()
    with ours, peer:
        for fd in (ours.fileno(), reader, kq):
            with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
                system.kevent(kq, [Kevent(fd, Filter.VNODE, ADD, USUAL)])
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        system.kevent(kq, [Kevent(reader, Filter.VNODE, ADD, USUAL)])


def test_a_change_wakes_who_waits_in_a_thread(
    file: Path, watch: Watch, system: LinuxKqueue, kq: int
) -> None:
    watched, got = watch(file), []
    thread = threading.Thread(
        target=lambda: got.extend(system.kevent(kq, room=4, timeout=PATIENCE))
    )
    thread.start()
    wait_until(lambda: is_asleep(thread))
    file.chmod(0o600)
    thread.join()
    assert got == [Kevent(watched.fd, Filter.VNODE, CLEAR, Vnode.ATTRIB)]
