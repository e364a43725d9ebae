"""CPython's own tests of `selectors`, with `PollsterSelector` in the place of its selectors."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

# The limit of descriptors, since test_above_fd_setsize opens as many as it may.
RUN = """
import resource, sys, unittest
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 2048))
from test import test_selectors
from pollster import selectors

class Tests(test_selectors.EpollSelectorTestCase, test_selectors.KqueueSelectorTestCase):
    SELECTOR = getattr(selectors, sys.argv[1])
    __unittest_skip__ = False  # these two are each for one system

unittest.main(argv=["test_selectors", "-v", "Tests"])
"""


def has_the_tests() -> bool:
    try:
        return importlib.util.find_spec("test.test_selectors") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(not has_the_tests(), reason="this Python came without its own tests")
@pytest.mark.parametrize("name", ["PollsterSelector", "InPython"])
def test_cpythons_tests_pass(backend: str, name: str) -> None:
    command = [sys.executable, "-c", RUN, name]
    environment = {**os.environ, "POLLSTER_BACKEND": backend}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    ran = re.search(r"Ran (\d+) tests", result.stderr)
    skipped = re.findall(r"^(test_\w+) .*skipped", result.stderr, re.MULTILINE)
    assert ran
    assert int(ran[1]) >= 23
    # It makes one of the standard library's own selectors fail, by its name.
    assert set(skipped) <= {"test_modify_unregister"}, result.stderr
