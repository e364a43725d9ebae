"""The configuration: a TOML file that says which programs are to run, and how."""

import os
import re
import signal
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

__all__ = ["BackOff", "ConfigurationError", "Settings", "read"]

NAME = re.compile(r"[A-Za-z0-9_.-]+")
LONGEST = 1e9  # seconds that a delay may be: 31 years


class ConfigurationError(Exception):
    """The configuration is wrong; the text names the program and the key."""


@dataclass(frozen=True)
class BackOff:
    """How long a program that has ended waits until it is started again, in seconds.

    It waits `initial`, then `factor` times as long with each further time, `maximum` at most. Once
    it has run for `reset`, it begins with `initial` again.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    reset: float = 10.0


@dataclass(frozen=True)
class Settings:
    """What the configuration says of one program. Two that are equal need no restart."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: str | None = None
    restart: str = "always"
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 10.0
    output: str = "log"
    back_off: BackOff = BackOff()


def read(path: Path) -> dict[str, Settings]:
    """Returns what a file says of each program, by name.

    Raises `ConfigurationError` where it can't be read, or says something wrong.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
    except ValueError as error:  # of TOML, or of UTF-8
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    try:
        return _programs(tables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _programs(tables: dict[str, Any]) -> dict[str, Settings]:
    programs = _values(tables, {"programs": _table}).get("programs")
    # A file that is being written is empty for a moment. That must not stop everything.
    if not programs:
        raise ConfigurationError("it has no programs: write [programs.NAME] and a command")
    return {name: _settings(name, value) for name, value in programs.items()}


def _settings(name: str, value: object) -> Settings:
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"program {name!r}: a name is made of letters, digits, '.', '-' and '_'"
        )
    try:
        table = _table(value)
        if "command" not in table:
            raise ConfigurationError("the key 'command' is missing")
        return Settings(name=name, **_values(table, _KEYS))
    except ConfigurationError as error:
        raise ConfigurationError(f"program {name!r}: {error}") from None


def _values(table: dict[str, Any], keys: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Checks each value of a table by its key's function; returns them, named as Python does."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in keys:
            raise ConfigurationError(f"there is no key {key!r}: use {', '.join(keys)}")
        try:
            values[key.replace("-", "_")] = keys[key](value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{key}: {error}") from None
    return values


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"must be a table, not {value!r}")
    return cast(dict[str, Any], value)


def _text(value: object) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ConfigurationError(f"must be a string without null characters, not {value!r}")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        raise ConfigurationError(f"{value!r} can't be written in this system's encoding") from None
    return value


def _command(value: object) -> tuple[str, ...]:
    words = cast(list[object], value if isinstance(value, list) else [])
    if not words or not words[0]:
        raise ConfigurationError(f"must be a list, a program and its arguments, not {value!r}")
    return tuple(map(_text, words))


def _environment(value: object) -> dict[str, str]:
    table = _table(value)
    for name in table:
        if not name or "=" in _text(name):
            raise ConfigurationError(f"{name!r} can't be a variable's name")
    return {name: _text(text) for name, text in table.items()}


def _directory(value: object) -> str:
    if not _text(value):
        raise ConfigurationError("must not be empty")
    return _text(value)


def _one_of(*words: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in words:
            raise ConfigurationError(f"must be one of {', '.join(words)}, not {value!r}")
        return str(value)

    return check


def _signal(value: object) -> signal.Signals:
    if isinstance(value, str) and value.startswith("SIG") and hasattr(signal.Signals, value):
        return signal.Signals[value]
    raise ConfigurationError(f"must be a signal's name, such as 'SIGTERM', not {value!r}")


def _number(value: object, least: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= LONGEST:
        return float(value)
    raise ConfigurationError(f"must be a number from {least:g} to {LONGEST:g}, not {value!r}")


def _seconds(value: object) -> float:
    return _number(value, 0)


def _factor(value: object) -> float:
    return _number(value, 1)


def _back_off(value: object) -> BackOff:
    back_off = BackOff(**_values(_table(value), _BACK_OFF))
    if back_off.maximum < back_off.initial:
        raise ConfigurationError(
            f"maximum ({back_off.maximum:g}) must not be less than initial ({back_off.initial:g})"
        )
    return back_off


_BACK_OFF = {"initial": _seconds, "factor": _factor, "maximum": _seconds, "reset": _seconds}

_KEYS = {
    "command": _command,
    "environment": _environment,
    "directory": _directory,
    "restart": _one_of("always", "on-failure", "never"),
    "stop-signal": _signal,
    "stop-timeout": _seconds,
    "output": _one_of("log", "inherit"),
    "back-off": _back_off,
}
