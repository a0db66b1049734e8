"""The content key of a build: one digest per input, so that a plan can say which input changed.

The rule that keeps it simple: what a build can see counts, what it cannot does not. Of a context entry that is path, kind,
permission bits, link target and content; owner and times are not (COPY makes root the owner, and the layer cache ignores times).
Each part is a digest of length-prefixed fields, so no two inputs can run into one another. No state is kept anywhere.

`parts` is a flat map, as it travels in a label: the inputs of `INPUTS`, and beside the `context` one short digest for each
top-level entry of the context (`context/src`), so that a plan can say where to look.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from declarative.manifest.context.walk import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from declarative.manifest.context.walk import Entry

INPUTS = ("dockerfile", "context", "args", "target", "platform", "secrets", "options")

MOST_ENTRIES = 64
"""Top-level entries that get a digest of their own; a flatter context than that would bloat the label for little."""

_BLOCK = 1 << 18
_DIGITS = 12
"""Hex digits of a top-level entry's digest: they only tell people where to look, `context` itself decides."""


def content_parts(
    *,
    dockerfile: bytes,
    context: Iterable[Entry],
    args: Mapping[str, str] | None = None,
    target: str = "",
    secrets: Iterable[str] = (),
    platform: str = "",
    options: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Digest each input of a build. `secrets` are ids, not values; `options` whatever else changes the image (network, labels).

    Inputs that are empty have no entry, so that a new option of this tool changes nobody's key. Raises Denied or Failed
    if a file of the context cannot be read.
    """
    parts = {"dockerfile": _digest([dockerfile])}
    parts |= _context(context)
    pairs = {"args": args or {}, "options": options or {}}
    parts |= {name: _digest(_flat(value)) for name, value in pairs.items() if value}
    texts = {"target": target, "platform": platform}
    parts |= {name: _digest([text.encode()]) for name, text in texts.items() if text}
    ids = sorted(set(secrets))
    return parts | ({"secrets": _digest([name.encode() for name in ids])} if ids else {})


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Say which inputs differ, for a person: ("dockerfile", "context (setup.py, src)"). Empty if the key is the same."""
    found: list[str] = []
    for name in INPUTS:
        if before.get(name) != after.get(name):
            entries = _changed_entries(before, after) if name == "context" else ()
            found.append(f"{name} ({', '.join(entries)})" if entries else name)
    return tuple(found)


def _changed_entries(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    prefix = "context/"
    if not all(any(name.startswith(prefix) for name in side) for side in (before, after)):
        return ()
    names = sorted(
        name for name in {*before, *after} if name.startswith(prefix) and before.get(name) != after.get(name)
    )
    shown = [name.removeprefix(prefix) for name in names]
    return tuple(shown[:4]) + ((f"and {len(shown) - 4} more",) if len(shown) > 4 else ())


def _context(entries: Iterable[Entry]) -> dict[str, str]:
    """Digest the context whole, and each top-level entry; the walk's order makes both independent of the file system."""
    whole = hashlib.sha256()
    tops: dict[str, hashlib._Hash] = {}
    for entry in entries:
        line = _line(entry)
        whole.update(line)
        top = entry.path.partition("/")[0]
        if top not in tops:
            tops[top] = hashlib.sha256()
        tops[top].update(line)
    parts = {"context": f"sha256:{whole.hexdigest()}"}
    if len(tops) <= MOST_ENTRIES:
        parts |= {f"context/{_shown(top)}": made.hexdigest()[:_DIGITS] for top, made in tops.items()}
    return parts


def _line(entry: Entry) -> bytes:
    content = _file_digest(entry) if entry.kind == "file" else b""
    head = f"{entry.kind} {entry.mode:o} {entry.device[0]}:{entry.device[1]}".encode()
    return _framed([os.fsencode(entry.path), head, os.fsencode(entry.target), content])


def _file_digest(entry: Entry) -> bytes:
    made = hashlib.sha256()
    try:
        file = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            while block := os.read(file, _BLOCK):
                made.update(block)
        finally:
            os.close(file)
    except OSError as error:
        raise unreadable(entry.source, error) from error
    return made.digest()


def _flat(pairs: Mapping[str, str]) -> Sequence[bytes]:
    return [text.encode("utf-8", "surrogateescape") for pair in sorted(pairs.items()) for text in pair]


def _digest(fields: Iterable[bytes]) -> str:
    return f"sha256:{hashlib.sha256(_framed(fields)).hexdigest()}"


def _framed(fields: Iterable[bytes]) -> bytes:
    return b"".join(b"%d:%b" % (len(text), text) for text in fields)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
