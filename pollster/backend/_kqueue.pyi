# What cffi makes of selector.h; where `kqueue` is built.

from typing import Any

ffi: Any
lib: Any
