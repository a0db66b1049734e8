"""An image configuration as a document again (image-spec, config.md).

The rule that keeps it simple: the document it was read from is the base; fields we know are set, or go where they are empty,
and whatever we do not know stays as it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.oci.json_text import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.oci.config import HealthCheck, HistoryEntry, ImageConfig, RunDefaults


def encode_config(config: ImageConfig, base: bytes = b"{}") -> bytes:
    """Write `config`; fields of `base` (the document it came from) that it knows nothing of are kept."""
    document: dict[str, Any] = parse(base or b"{}")
    platform = config.platform
    known = {
        "created": config.created,
        "author": config.author,
        "architecture": platform.architecture,
        "variant": platform.variant,
        "os": platform.os,
        "os.version": platform.os_version,
        "config": _run(config.run, document.get("config") or {}),
        "rootfs": {"type": "layers", "diff_ids": [str(digest) for digest in config.diff_ids]},
        "history": _history(config.history, document.get("history") or []),
    }
    return encode_document(_merged(document, known, keep=("config", "rootfs", "history")))


def encode_document(document: Mapping[str, Any]) -> bytes:
    """Write a JSON document in the fewest bytes, names as they are."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _merged(base: dict[str, Any], known: Mapping[str, Any], keep: tuple[str, ...] = ()) -> dict[str, Any]:
    """Set what is known, in place; an empty value takes the field away, except those to `keep`."""
    made = dict(base)
    for name, value in known.items():
        if value or name in keep:
            made[name] = value
        else:
            made.pop(name, None)
    return made


def _run(run: RunDefaults, base: dict[str, Any]) -> dict[str, Any]:
    known = {
        "User": run.user,
        "ExposedPorts": {port: {} for port in run.exposed_ports},
        "Env": list(run.env),
        "Volumes": {path: {} for path in run.volumes},
        "WorkingDir": run.working_dir,
        "Labels": dict(run.labels),
        "StopSignal": run.stop_signal,
        "Shell": list(run.shell),
        "OnBuild": list(run.on_build),
        "Healthcheck": _health_check(run.health_check),
    }
    made = _merged(base, known)
    for name, words in (("Entrypoint", run.entrypoint), ("Cmd", run.cmd)):
        if words is None:
            made.pop(name, None)
        else:
            made[name] = list(words)  # no words at all is something else than nothing said
    return made


def _health_check(check: HealthCheck | None) -> dict[str, Any]:
    if check is None:
        return {}
    known = {
        "Interval": check.interval,
        "Timeout": check.timeout,
        "StartPeriod": check.start_period,
        "StartInterval": check.start_interval,
        "Retries": check.retries,
    }
    return {"Test": list(check.test)} | {name: value for name, value in known.items() if value}


def _history(history: tuple[HistoryEntry, ...], base: list[Any]) -> list[Any]:
    """Write the history; entries that are still those of the base keep what else they say."""
    made = []
    for place, entry in enumerate(history):
        known = {
            "created": entry.created,
            "created_by": entry.created_by,
            "author": entry.author,
            "comment": entry.comment,
            "empty_layer": entry.empty_layer,
        }
        before = base[place] if place < len(base) and isinstance(base[place], dict) else {}
        same = all((before.get(name) or "") == (value or "") for name, value in known.items())
        made.append(before if same and before else {name: value for name, value in known.items() if value})
    return made
