"""What is loaded leaves a free-threaded Python without the GIL, so threads run at once (R11)."""

import os
import subprocess
import sys

# A module that does not declare itself safe has the GIL come back, with this warning. On a Python
# that has a GIL nothing warns, and it stays.
PROGRAM = """
import sys
import _cffi_backend
enabled = getattr(sys, "_is_gil_enabled", lambda: True)
before = enabled()
from pollster import Poll
from pollster.backend import load
load({name!r})
Poll(backend={name!r}).close()
print(before, enabled())
"""


def test_loading_a_back_end_leaves_the_gil_as_it_was(backend) -> None:
    program = PROGRAM.format(name=backend)
    undecided = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=undecided,
    )
    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split()
    assert after == before
