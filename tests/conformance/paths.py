"""`PathWatch`: R20."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from case import LEVEL, Gate, case
from children import in_child
from watches import append
from world import READABLE, World

from pollster import PathChange, PathWatch

LEVEL_ONLY = (LEVEL,)
NOTHING = PathChange(0)
WRITTEN, EXTENDED, ATTRIBUTES = PathChange.WRITTEN, PathChange.EXTENDED, PathChange.ATTRIBUTES
LINKED, RENAMED, DELETED = PathChange.LINKED, PathChange.RENAMED, PathChange.DELETED
REPLACED = PathChange.REPLACED
GROWN = WRITTEN | EXTENDED

Action = Callable[[Path], object]


def new_file(world: World) -> Path:
    """A file with something in it."""
    path = world.folder / "file"
    path.write_bytes(b"12345")
    return path


def new_folder(world: World) -> Path:
    """A directory with a file and a directory in it."""
    path = world.folder / "folder"
    (path / "sub").mkdir(parents=True)
    (path / "old").write_bytes(b"12345")
    return path


def watched(world: World, path: Path, changes: PathChange = ~NOTHING, token: int = 1) -> PathWatch:
    """A path, watched and registered."""
    watch = world.keep(PathWatch(path, changes, backend=world.backend))
    world.register(watch, token)
    return watch


def expect_changes(world: World, watch: PathWatch, changes: PathChange) -> None:
    """There is an event, if there is anything, and these are the changes."""
    world.expect({1: READABLE} if changes else {})
    found = watch.take()
    assert found == changes, f"{found!r}, not {changes!r}"
    world.see(found)
    world.rearm()


def replace(path: Path) -> None:
    """As most editors do it: another file takes the name."""
    new = path.with_name("new")
    new.write_bytes(b"new")
    new.rename(path)


def back_up_and_write(path: Path) -> None:
    """As the other editors do it: the file is renamed, and another one written."""
    path.rename(path.with_name("backup"))
    path.write_bytes(b"new")


def overwrite(path: Path) -> None:
    """Writes within the file."""
    with path.open("r+b") as file:
        file.write(b"6")


def append_to_old(path: Path) -> None:
    """As rsync and cp -p do it: the new content, and the time of the original."""
    append(path)
    os.utime(path, (1, 1))


def link_old(path: Path) -> None:
    """Another name, and another time."""
    path.with_name("second").hardlink_to(path)
    os.utime(path, (1, 1))


def rename_away(path: Path) -> None:
    """It is elsewhere from now on."""
    path.rename(path.with_name("away"))


def rename_and_back(path: Path) -> None:
    """It is gone, and there again before anybody looks."""
    path.rename(path.with_name("away"))
    path.with_name("away").rename(path)


def change_file(
    name: str, action: Action, changes: PathChange, gates: tuple[Gate, ...] = ()
) -> None:
    """Makes a case of an action on a file."""

    @case("R20", f"a file: {name}", gates=gates)
    def _(world: World) -> None:
        path = new_file(world)
        watch = watched(world, path)
        world.expect({})
        action(path)
        expect_changes(world, watch, changes)
        expect_changes(world, watch, NOTHING)


def change_folder(name: str, action: Action, changes: PathChange) -> None:
    """Makes a case of an action on a directory."""

    @case("R20", f"a directory: {name}")
    def _(world: World) -> None:
        path = new_folder(world)
        watch = watched(world, path)
        world.expect({})
        action(path)
        expect_changes(world, watch, changes)
        expect_changes(world, watch, NOTHING)


NO_TRUNCATION = Gate(
    ("OpenBSD",),
    "releases without NOTE_TRUNCATE say nothing of a truncation",
    "facts: openbsd-7.3, EVFILT_VNODE, ftruncate 0",
)

change_file("append", append, GROWN)
change_file("overwrite", overwrite, WRITTEN)
change_file("truncate", lambda path: os.truncate(path, 0), WRITTEN, (NO_TRUNCATION,))
change_file("write anew, longer", lambda path: path.write_bytes(b"123456"), GROWN)
change_file("write anew, shorter", lambda path: path.write_bytes(b"1"), WRITTEN)
change_file("write anew, as long", lambda path: path.write_bytes(b"54321"), WRITTEN)
change_file("chmod", lambda path: path.chmod(0o600), ATTRIBUTES)
change_file("utime", lambda path: os.utime(path, (1, 1)), ATTRIBUTES)
change_file("link", lambda path: path.with_name("second").hardlink_to(path), LINKED)
change_file("rename", lambda path: path.rename(path.with_name("other")), RENAMED)
change_file("unlink", lambda path: path.unlink(), DELETED)
change_file("replaced by a rename", replace, REPLACED)
change_file("renamed, and written anew", back_up_and_write, RENAMED | REPLACED)
change_file("append, and set its times", append_to_old, GROWN | ATTRIBUTES)
change_file("link, and set its times", link_old, LINKED | ATTRIBUTES)
change_file("rename away and back", rename_and_back, RENAMED | REPLACED)
change_file("read", lambda path: path.read_bytes(), NOTHING)

change_folder("create", lambda path: (path / "new").touch(), WRITTEN)
change_folder("symlink", lambda path: (path / "new").symlink_to("old"), WRITTEN)
change_folder("link", lambda path: (path / "new").hardlink_to(path / "old"), WRITTEN)
change_folder("unlink", lambda path: (path / "old").unlink(), WRITTEN)
change_folder("mkdir", lambda path: (path / "new").mkdir(), WRITTEN)
change_folder("rmdir of one in it", lambda path: (path / "sub").rmdir(), WRITTEN)
change_folder("rename within", lambda path: (path / "old").rename(path / "new"), WRITTEN)
change_folder("replace within", lambda path: replace(path / "old"), WRITTEN)
change_folder("move out", lambda path: (path / "old").rename(path.with_name("out")), WRITTEN)
change_folder(
    "move a directory out", lambda path: (path / "sub").rename(path.with_name("out")), WRITTEN
)
change_folder("write to what is in it", lambda path: append(path / "old"), NOTHING)
change_folder("chmod of what is in it", lambda path: (path / "old").chmod(0o600), NOTHING)
change_folder("chmod", lambda path: path.chmod(0o700), ATTRIBUTES)
change_folder("rename", lambda path: path.rename(path.with_name("other")), RENAMED)
change_folder("rename away and back", rename_and_back, RENAMED | REPLACED)
change_folder("remove", shutil.rmtree, WRITTEN | DELETED)


@case("R20", "several changes are put together until they are taken")
def _(world: World) -> None:
    path = new_file(world)
    watch = watched(world, path)
    append(path)
    path.chmod(0o600)
    expect_changes(world, watch, GROWN | ATTRIBUTES)
    append(path)
    world.expect({1: READABLE})
    path.chmod(0o644)
    world.rearm()
    world.expect({1: READABLE})
    world.see(watch.take())


@case("R20", "a file that is replaced is watched on, again and again")
def _(world: World) -> None:
    path = new_file(world)
    watch = watched(world, path)
    for _ in range(3):
        replace(path)
        expect_changes(world, watch, REPLACED)
        append(path)
        expect_changes(world, watch, GROWN)
        back_up_and_write(path)
        expect_changes(world, watch, RENAMED | REPLACED)
        overwrite(path)
        expect_changes(world, watch, WRITTEN)


@case("R20", "a file that is gone is watched again when there is one")
def _(world: World) -> None:
    path = new_file(world)
    watch = watched(world, path)
    for _ in range(3):
        path.unlink()
        expect_changes(world, watch, DELETED)
        path.with_name("sibling").touch()
        expect_changes(world, watch, NOTHING)
        path.write_bytes(b"1")
        expect_changes(world, watch, REPLACED)
        append(path)
        expect_changes(world, watch, GROWN)
        path.rename(path.with_name("away"))
        expect_changes(world, watch, RENAMED)
        append(path.with_name("away"))
        expect_changes(world, watch, NOTHING)
        path.with_name("away").rename(path)
        expect_changes(world, watch, REPLACED)
        append(path)
        expect_changes(world, watch, GROWN)


@case("R20", "a directory that is gone is watched again when there is one")
def _(world: World) -> None:
    path = new_folder(world)
    watch = watched(world, path)
    path.rename(path.with_name("away"))
    expect_changes(world, watch, RENAMED)
    path.mkdir()
    expect_changes(world, watch, REPLACED)
    (path / "new").touch()
    expect_changes(world, watch, WRITTEN)
    (path / "new").unlink()
    expect_changes(world, watch, WRITTEN)
    path.rmdir()
    expect_changes(world, watch, DELETED)


@case("R20", "times that were set are reported, also together with what was written")
def _(world: World) -> None:
    path = new_file(world)
    watch = watched(world, path, ATTRIBUTES)
    append_to_old(path)
    expect_changes(world, watch, ATTRIBUTES)


@case("R20", "what a symbolic link leads to is watched on, where it comes again")
def _(world: World) -> None:
    folder = world.folder / "elsewhere"
    folder.mkdir()
    path = folder / "file"
    path.write_bytes(b"1")
    link = world.folder / "link"
    link.symlink_to("elsewhere/file")
    watch = watched(world, link)
    replace(path)
    expect_changes(world, watch, REPLACED)
    path.unlink()
    expect_changes(world, watch, DELETED)
    path.write_bytes(b"2")
    expect_changes(world, watch, REPLACED)
    path.rename(path.with_name("backup"))
    expect_changes(world, watch, RENAMED)
    path.write_bytes(b"3")
    expect_changes(world, watch, REPLACED)
    append(path)
    expect_changes(world, watch, GROWN)


@case("R20", "where its directory is gone, too, take() looks whether both are there again")
def _(world: World) -> None:
    folder = world.folder / "folder"
    for end, changes in ((shutil.rmtree, DELETED), (rename_away, DELETED)):
        folder.mkdir()
        path = folder / "file"
        path.write_bytes(b"1")
        watch = watched(world, path)
        path.unlink()
        expect_changes(world, watch, changes)
        end(folder)
        expect_changes(world, watch, NOTHING)
        folder.mkdir()
        path.write_bytes(b"2")
        world.see(watch.take())
        assert not watch.take()
        append(path)
        expect_changes(world, watch, GROWN)
        world.deregister(watch)
        shutil.rmtree(folder)


@case("R20", "only what is asked for is reported")
def _(world: World) -> None:
    path = new_file(world)
    watch = watched(world, path, EXTENDED | DELETED)
    overwrite(path)
    path.chmod(0o600)
    replace(path)
    expect_changes(world, watch, NOTHING)
    append(path)
    expect_changes(world, watch, EXTENDED)
    path.unlink()
    expect_changes(world, watch, DELETED)


@case("R20", "a name of a file that has another one is unlinked")
def _(world: World) -> None:
    path = new_file(world)
    other = path.with_name("second")
    other.hardlink_to(path)
    watch = watched(world, path)
    other.unlink()
    expect_changes(world, watch, LINKED)
    other.hardlink_to(path)
    expect_changes(world, watch, LINKED)
    path.unlink()
    expect_changes(world, watch, DELETED)


@case("R20", "one path may be watched twice, and two paths are told apart")
def _(world: World) -> None:
    path = new_file(world)
    other = path.with_name("other")
    other.touch()
    for token, watched_path in enumerate((path, path, other)):
        watched(world, watched_path, token=token)
    append(path)
    world.expect({0: READABLE, 1: READABLE})
    append(other)
    world.expect({2: READABLE})


@case("R20", "a relative path is one of the directory of then", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    path = new_file(world)
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        watch = watched(world, Path(path.name))
    finally:
        os.chdir(before)
    replace(path)
    expect_changes(world, watch, REPLACED)


@case("R20", "a symbolic link is followed", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    path = new_file(world)
    link = path.with_name("link")
    link.symlink_to(path.name)
    watch = watched(world, link)
    append(path)
    expect_changes(world, watch, GROWN)


@case("R20", "a path that can't be watched is refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    path = new_file(world)
    for wrong, error, number in (
        (path.with_name("missing"), FileNotFoundError, errno.ENOENT),
        (path / "below", NotADirectoryError, errno.ENOTDIR),
        (f"{path}/", NotADirectoryError, errno.ENOTDIR),
        ("", FileNotFoundError, errno.ENOENT),
        ("x" * 300, OSError, errno.ENAMETOOLONG),
    ):
        with world.refused(error, number):
            PathWatch(wrong, backend=world.backend)
    with world.refused(ValueError, 0, "null byte"):
        PathWatch("a\0b", backend=world.backend)
    with world.refused(ValueError, 0, "empty"):
        PathWatch(path, NOTHING, backend=world.backend)
    for wrong_type in (3, None):
        with world.refused(TypeError):
            PathWatch(wrong_type, backend=world.backend)  # type: ignore[arg-type]
    with world.refused(TypeError, 0, "PathChange"):
        PathWatch(path, 1, backend=world.backend)  # type: ignore[arg-type]


@case("R20", "a path without permission is refused", triggers=LEVEL_ONLY)
def _(world: World) -> None:
    path = new_file(world)
    path.chmod(0)
    world.folder.chmod(0o755)

    def work() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        with world.refused(PermissionError, errno.EACCES, str(path)):
            PathWatch(path, backend=world.backend)

    in_child(work)
