"""The part of the build that pyproject.toml can't say.

cffi's hook into setuptools, what only the Python that builds can tell, and a clear word where there
is nothing to build with.
"""

import runpy
import shutil
import sys
import sysconfig
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

CURE = """\
{missing}, and pollster's back end is built from C. Install what is missing and try again:
    Debian, Ubuntu   apt-get install gcc libc6-dev python3-dev
    Fedora           dnf install gcc python3-devel
    Alpine           apk add gcc musl-dev python3-dev
    macOS            xcode-select --install
    FreeBSD          pkg install python3 (cc is part of the system)
    NetBSD, OpenBSD  the set comp of the system
Another compiler than the usual one is named by the environment variable CC."""

NO_BACKEND = """\
pollster has no back end for this system ({system}): it needs {names}."""

BUILDER = "pollster/backend/build.py"
BUILT = runpy.run_path(BUILDER)
NATIVE = BUILT["native"]()

# A free-threaded Python has no limited API before 3.15.
LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildExt(build_ext):
    """Looks for a compiler before it is needed."""

    def build_extensions(self) -> None:
        """Builds, or says what is missing. Raises `PlatformError`."""
        if not NATIVE:
            names = " or ".join(BUILT["SYSTEMS"])
            raise PlatformError(NO_BACKEND.format(system=sys.platform, names=names))
        command = self.compiler.compiler[0]
        header = Path(sysconfig.get_path("include"), "Python.h")
        if shutil.which(command) is None:
            raise PlatformError(CURE.format(missing=f"there is no C compiler ({command})"))
        if not header.exists():
            raise PlatformError(CURE.format(missing=f"Python's headers are not here ({header})"))
        super().build_extensions()


setup(
    cffi_modules=[f"{BUILDER}:{name}" for name in NATIVE],
    ext_modules=[
        Extension(
            "pollster.backend._python",
            sorted(glob("pollster/backend/python/*.c")),
            depends=sorted(glob("pollster/backend/**/*.h", recursive=True)),
            include_dirs=["pollster/backend"],
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden"],
            py_limited_api=LIMITED_API,
        )
    ],
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED_API else {},
)
