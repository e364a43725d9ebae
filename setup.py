"""The part of the build that pyproject.toml can't say: its two extension modules."""

from glob import glob

from setuptools import Extension, setup

setup(
    cffi_modules=["pollster/backend/build.py:ffibuilder"],
    ext_modules=[
        Extension(
            "pollster.backend._python",
            sorted(glob("pollster/backend/python*.c")),
            depends=sorted(glob("pollster/backend/*.h")),
            extra_compile_args=["-std=gnu11", "-fvisibility=hidden"],
            py_limited_api=True,
        )
    ],
)
