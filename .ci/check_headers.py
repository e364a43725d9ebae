"""Compiles pollster for each system against that system's own headers, and links its modules.

`python .ci/check_headers.py DIRECTORY` works in DIRECTORY and prints a table. The compiler is that
of the package `ziglang`, which carries the headers and the libraries' symbols of all of them; so
nothing else is needed, and nothing runs but the compiler.

For each target: tests/headers/layouts.c, and then each extension module of the build with every
C file of it, cffi's generated one included, without a warning. A module may leave symbols of Python
open, as all do, and no others, and exports the function that Python imports it by and nothing else.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from exports import exports
from modules import CHECKOUT, extensions
from setuptools import Extension

HEADERS = CHECKOUT / "tests" / "headers"
KQUEUE = CHECKOUT / "tests" / "kqueue" / "include"
FLAGS = ["-Wall", "-Wextra", "-Werror", "-O2", "-fPIC", "-fno-sanitize=all"]
# Python's, and what a 32-bit ARM's compiler calls for arithmetic and brings itself.
OPEN = re.compile(r"_*Py|__aeabi_|__aarch64_")
UNDEFINED = re.compile(r"undefined symbol: (\w+)")


@dataclass(frozen=True)
class Target:
    """A system and a processor, as the compiler and as Python name them."""

    triple: str
    platform: str

    @property
    def is_macos(self) -> bool:
        """Whether its linker is Apple's."""
        return self.platform == "darwin"


# glibc 2.17 is that of manylinux2014. The 32-bit ones of the BSDs are there for kqueue.h, whose
# udata is another one where a pointer has 32 bits.
TARGETS = [
    *(Target(f"{machine}-macos", "darwin") for machine in ("x86_64", "aarch64")),
    *(Target(f"{machine}-freebsd", "freebsd14") for machine in ("x86_64", "aarch64")),
    *(Target(f"{machine}-netbsd.11.0", "netbsd11") for machine in ("x86_64", "aarch64", "x86")),
    *(Target(f"{machine}-openbsd", "openbsd7") for machine in ("x86_64", "aarch64", "x86")),
    *(Target(f"{machine}-linux-gnu.2.17", "linux") for machine in ("x86_64", "aarch64")),
    *(Target(f"{machine}-linux-musl", "linux") for machine in ("x86_64", "aarch64")),
    Target("arm-linux-gnueabihf", "linux"),
    Target("arm-linux-musleabihf", "linux"),
]


def run(*command: str | Path, may_fail: bool = False) -> str:
    """Runs the compiler; returns what it said. What it complains of is the check's failure."""
    zig = [sys.executable, "-m", "ziglang", "cc"]
    words = [str(word) for word in command]
    done = subprocess.run([*zig, *words], check=False, text=True, capture_output=True)
    if done.returncode and not may_fail:
        raise RuntimeError(f"cc {' '.join(words)}\n{done.stderr}")
    return done.stderr


def copy_python(folder: Path) -> Path:
    """Copies Python's headers, with a pyconfig.h that fits any target in the place of its own."""
    copy = folder / "python"
    own = sysconfig.get_path("include")
    shutil.copytree(own, copy, ignore=shutil.ignore_patterns("pyconfig*.h"))
    shutil.copy(HEADERS / "pyconfig.h", copy)
    return copy


def check_layouts(target: Target, folder: Path) -> None:
    """Compiles the static assertions; for Linux those of the tests' kqueue too."""
    cc: list[str | Path] = ["-target", target.triple, *FLAGS, "-c", HEADERS / "layouts.c"]
    run(*cc, "-o", folder / "layouts.o")
    if target.platform == "linux":
        run(*cc, "-DKQUEUE_OF_THE_TESTS", f"-I{KQUEUE}", "-o", folder / "layouts_of_the_tests.o")


def compile_sources(target: Target, module: Extension, python: Path, folder: Path) -> list[Path]:
    """Compiles the C files of a module; returns the objects."""
    macros = [f"-D{name}" + ("" if v is None else f"={v}") for name, v in module.define_macros]
    includes = [f"-I{path}" for path in module.include_dirs]
    cc = ["-target", target.triple, *FLAGS, *module.extra_compile_args, *macros, *includes]
    objects = []
    for source in map(Path, module.sources):
        objects.append(folder / f"{module.name}.{source.parent.name}.{source.stem}.o")
        run(*cc, "-isystem", python, "-c", source, "-o", objects[-1])
    return objects


def link(target: Target, module: Extension, objects: list[Path], folder: Path) -> None:
    """Links a module as Python's build does, and looks what it leaves open and what it exports."""
    own = module.name.rpartition(".")[2]
    product = folder / f"{own}.so"
    cc: list[str | Path] = ["-target", target.triple, "-shared", *objects]
    # The libc's symbols; the compiler's own library would have to be compiled for each target.
    libraries = [*module.extra_link_args, "-nostdlib", "-lc", "-lpthread"]
    strict = [] if target.is_macos else ["-Wl,-z,defs"]
    said = run(*cc, *libraries, *strict, "-o", product, may_fail=True)
    strangers = sorted({name for name in UNDEFINED.findall(said) if not OPEN.match(name)})
    if strangers:
        raise RuntimeError(f"{target.triple} has no {', '.join(strangers)}, which {own} uses")
    lenient = ["-undefined", "dynamic_lookup"] if target.is_macos else []
    run(*cc, *libraries, *lenient, "-o", product)
    exported = sorted(exports(product))
    if exported != [f"PyInit_{own}"]:
        raise RuntimeError(f"{target.triple}: {own} exports {exported} and not PyInit_{own} alone")


def check(target: Target, modules: list[Extension], python: Path, work: Path) -> str:
    """Does all of it for one target; returns its row."""
    began = time.monotonic()
    folder = work / target.triple
    folder.mkdir()
    names = []
    try:
        check_layouts(target, folder)
        for module in modules:
            objects = compile_sources(target, module, python, folder)
            link(target, module, objects, folder)
            names.append(f"{module.name.rpartition('.')[2]} ({len(objects)} files)")
    except RuntimeError as error:
        return f"{target.triple:24} FAILED\n{error}"
    return f"{target.triple:24} ok  {time.monotonic() - began:5.1f} s  {', '.join(names)}"


def check_all(work: Path) -> Iterator[str]:
    """Yields a row for each target, in their order."""
    python = copy_python(work)
    modules = {}
    for platform in dict.fromkeys(target.platform for target in TARGETS):
        generated = work / f"generated-{platform}"
        generated.mkdir()
        modules[platform] = extensions(platform, generated)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda t: check(t, modules[t.platform], python, work), TARGETS)


def main() -> int:
    """Runs the check in an empty folder; returns the exit code."""
    work = Path(sys.argv[1]).resolve() / "headers"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for cache in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        os.environ[cache] = str(work / "cache")
    failed = False
    for row in check_all(work):
        print(row, flush=True)
        failed = failed or "FAILED" in row
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
