"""Builds the kqueue back end on Linux, over the tests' own kqueue, beside the installed back ends.

`python tests/build_kqueue.py` makes `--backend kqueue` work in the environment of that Python: for
tests, and to see the demo run on both. Where the kernel has a kqueue of its own it does nothing.
"""

import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).resolve().parent
CHECKOUT = TESTS.parent
KQUEUE = TESTS / "kqueue"

# kqueue_misbehave.h, for tests/test_faults.py and the tests that count system calls.
FAULTS = """
void kqueue_misbehave(const char *fault, int times);
long kqueue_calls(void);
"""


def load_builder() -> ModuleType:
    """Imports pollster/backend/build.py of the checkout: installed pollsters have no C sources."""
    path = CHECKOUT / "pollster" / "backend" / "build.py"
    spec = importlib.util.spec_from_file_location("pollster_backend_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Builds the module and puts it where pollster looks for back ends."""
    import pollster.backend

    builder = load_builder()
    if builder.native() == "kqueue":
        print("this kernel has a kqueue of its own")
        return 0
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as temporary:
        ffi = builder.builder(
            "kqueue",
            sources=sorted(KQUEUE.glob("*.c")),
            include_dirs=[KQUEUE / "include"],
            extra=FAULTS,
        )
        built = Path(ffi.compile(tmpdir=temporary))
        target = Path(pollster.backend.__file__).parent / built.name
        # Another process may have the old one mapped: replace the file, do not write into it.
        fresh = target.with_suffix(f".{os.getpid()}")
        shutil.copy(built, fresh)
        fresh.replace(target)
    assert os.getcwd() == home
    print(f"built {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
