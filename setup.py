"""The part of the build that pyproject.toml can't say: cffi's hook into setuptools."""

from setuptools import setup

setup(cffi_modules=["pollster/backend/build.py:ffibuilder"])
