"""Asks the build for its extension modules, as they are on any system."""

import contextlib
import distutils.core
import importlib.util
import io
import os
from pathlib import Path
from types import ModuleType

from setuptools import Extension

CHECKOUT = Path(__file__).resolve().parent.parent
BACKEND = CHECKOUT / "pollster" / "backend"


def load_builder() -> ModuleType:
    """Imports pollster/backend/build.py without pollster, which may not be built."""
    spec = importlib.util.spec_from_file_location("pollster_backend_build", BACKEND / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def extensions(platform: str, folder: Path) -> list[Extension]:
    """Returns the modules that a build for a system makes.

    Parameters: `platform`, the system, as sys.platform names it; `folder`, where cffi's generated C
    goes. The working directory becomes the checkout, where the modules' relative paths begin.
    """
    os.chdir(CHECKOUT)
    builder = load_builder()
    backends = [builder.builder(name, platform=platform) for name in builder.native(platform)]
    setup = distutils.core.run_setup("setup.py", stop_after="init")
    plain = [e for e in setup.ext_modules or [] if "$PLACEHOLDER" not in e.sources]
    with contextlib.redirect_stdout(io.StringIO()):  # it tells each file that it writes
        built = [backend.distutils_extension(str(folder), verbose=False) for backend in backends]
    return [*built, *plain]
