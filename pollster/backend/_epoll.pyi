# What cffi makes of selector.h; where `epoll` is built.

from typing import Any

ffi: Any
lib: Any
