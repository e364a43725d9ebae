"""Builds the back ends that this system has not, and that the tests can bring: kqueue on Linux.

`python tests/build_backends.py` puts them beside the installed ones, so that `--backend kqueue`
works in the environment of that Python: for tests, and to see the demo run on both.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent
KQUEUE = TESTS / "kqueue"

# kqueue_misbehave.h, for tests/test_faults.py and the tests that count system calls, and
# kqueue_kernel.h.
FAULTS = """
void kqueue_misbehave(const char *fault, int times);
long kqueue_calls(void);
int kqueue_be_kernel(const char *name);
const char *kqueue_kernel(void);
"""

# What the tests bring to Linux, and what to compile with it.
BROUGHT: dict[str, dict[str, Any]] = {
    "kqueue": {
        "more": sorted(KQUEUE.glob("*.c")),
        "include_dirs": [KQUEUE / "include"],
        "extra": FAULTS,
    },
}


def load_builder() -> ModuleType:
    """Imports pollster/backend/build.py of the checkout: installed pollsters have no C sources."""
    path = CHECKOUT / "pollster" / "backend" / "build.py"
    spec = importlib.util.spec_from_file_location("pollster_backend_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(builder: ModuleType, name: str) -> Path:
    """Builds a back end and puts it where pollster looks for them."""
    installed = importlib.util.find_spec("pollster")  # without running it: see .ci/check_memory.py
    assert installed is not None
    assert installed.origin is not None
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as temporary:
        ffi = builder.builder(name, **BROUGHT[name])
        built = Path(ffi.compile(tmpdir=temporary))
        target = Path(installed.origin).parent / "backend" / built.name
        # Another process may have the old one mapped: replace the file, do not write into it.
        fresh = target.with_suffix(f".{os.getpid()}")
        shutil.copy(built, fresh)
        fresh.replace(target)
    assert os.getcwd() == home
    return target


def main() -> int:
    """Builds all that are missing here."""
    if not sys.platform.startswith("linux"):
        print("the tests bring nothing to this system: they use what it has")
        return 0
    builder = load_builder()
    for name in BROUGHT:
        print(f"built {build(builder, name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
