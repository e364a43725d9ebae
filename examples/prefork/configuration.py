"""The configuration: where to listen, how many workers there are, and what they run."""

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class ConfigurationError(Exception):
    """The file can't be read, or says something wrong."""


class Settings(NamedTuple):
    """What it says."""

    host: str
    port: int
    workers: int
    spread: bool  # a listener for each worker, where the kernel can
    command: list[str]  # "{fd}" is the number of the listener
    stop: float  # seconds that a worker has to finish what runs


def read(path: Path) -> Settings:
    """Reads a file. Raises `ConfigurationError`."""
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        host, _, port = str(table.pop("listen")).rpartition(":")
        settings = Settings(
            host,
            int(port),
            int(table.pop("workers", os.cpu_count() or 1)),
            bool(table.pop("spread", True)),
            [str(word) for word in table.pop("command")],
            float(table.pop("stop", 60)),
        )
    except KeyError as error:
        raise ConfigurationError(f"{path}: the key {error} is missing") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if table:
        raise ConfigurationError(f"{path}: there is no key {', '.join(table)}")
    if settings.workers < 1 or not any("{fd}" in word for word in settings.command):
        raise ConfigurationError(f"{path}: no workers, or a command without {{fd}}")
    return settings
