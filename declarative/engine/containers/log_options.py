"""`--log-driver` and `--log-opt`: where a container's output goes, and how much of it is kept.

The rule that keeps it simple: `json-file` and `local` are the same file to us, which the monitor writes; `none` is none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from declarative.errors import Invalid
from declarative.oci.units import parse_size
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from declarative.engine.containers.host import LogConfig

JSON_FILE, LOCAL, NONE = "json-file", "local", "none"
_BOTH = frozenset({"max-size", "max-file", "compress", "mode", "max-buffer-size"})
_OPTIONS: Mapping[str, frozenset[str]] = {
    JSON_FILE: _BOTH | {"labels", "labels-regex", "env", "env-regex", "tag"},
    LOCAL: _BOTH,
}
_LOCAL_SIZE, _LOCAL_FILES = 20_000_000, 5  # what Docker's local driver keeps where nothing is said
_BOOLEANS = frozenset({"1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"})


@record
class Keeping:
    """How much is kept: a file of `size` bytes (0: without end), and `files` in all."""

    size: int = 0
    files: int = 1


def check(config: LogConfig) -> None:
    """Check driver and options. Invalid, in Docker's words."""
    driver, options = config.type or JSON_FILE, config.config or {}
    if driver == NONE:
        return
    known = _OPTIONS.get(driver)
    if known is None:
        raise Invalid("", f'error looking up logging plugin {driver}: plugin "{driver}" not found')
    _check_mode(options)
    for name in options:
        if name.endswith("-regex"):
            _check_pattern(options[name])
        if name not in known:
            what = f"{driver} log driver" if driver == JSON_FILE else f"log driver {driver}"
            raise Invalid("", f"unknown log opt '{name}' for {what}")
    keeping(config)


def keeping(config: LogConfig) -> Keeping:
    """Give how much is kept. Invalid, in Docker's words."""
    options, local = config.config or {}, config.type == LOCAL
    size, files = (_LOCAL_SIZE, _LOCAL_FILES) if local else (0, 1)
    if "max-size" in options:
        text = options["max-size"]
        size = 0 if text == "-1" else _size(text, f"invalid value for max-size: {text}: " if local else "")
    if "max-file" in options:
        files = _count(options["max-file"])
    if "compress" in options:
        _check_compress(options["compress"], on=size > 0 and files > 1, local=local)
    return Keeping(size=size, files=files)


def details(config: LogConfig, labels: Mapping[str, str], environment: Iterable[str]) -> str:
    """Give what `docker logs --details` puts before each line: labels and variables that the options choose, sorted."""
    options = config.config or {}
    variables = {name: value for name, sign, value in (entry.partition("=") for entry in environment) if sign}
    chosen: dict[str, str] = {}
    for values, option in ((labels, "labels"), (variables, "env")):
        names = set(options.get(option, "").split(","))
        pattern = options.get(f"{option}-regex", "")
        chosen |= {
            name: value
            for name, value in values.items()
            if name in names or (pattern and re.search(pattern, name) is not None)
        }
    return ",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(chosen.items()))


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "blocking")
    if mode not in {"", "blocking", "non-blocking"}:
        raise Invalid("", f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise Invalid("", "logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        _size(options["max-buffer-size"], "error parsing option max-buffer-size: ")


def _check_pattern(text: str) -> None:
    try:
        re.compile(text)
    except re.error:
        raise Invalid("", f"error parsing regexp: {text}") from None


def _size(text: str, prefix: str) -> int:
    try:
        return parse_size(text)
    except Invalid:
        raise Invalid("", f"{prefix}invalid size: '{text}'") from None


def _count(text: str) -> int:
    if not text.removeprefix("-").isdigit() or not text.isascii():
        raise Invalid("", f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise Invalid("", "max-file cannot be less than 1")
    return int(text)


def _check_compress(text: str, *, on: bool, local: bool) -> None:
    if text not in _BOOLEANS:
        raise Invalid("", f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if text[:1] in "1tT" and not on and not local:
        raise Invalid("", "compress cannot be true when max-file is less than 2 or max-size is not set")
