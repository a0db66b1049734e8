"""Where the links among the sources of a COPY lead inside the context, as BuildKit's fsutil follows them.

The rule that keeps it simple: links are read, never walked through by the system, and `..` stops at the context's root, so no
answer names anything outside. A loop ends because each path is resolved once.
"""

from __future__ import annotations

import posixpath
import re
import stat
from pathlib import Path

from declarative.oci.dockerfile.patterns import clean
from declarative.oci.matching import compile_pattern

_WILD = re.compile(r"[*?\[]")


def follow_links(root: str, paths: list[str]) -> list[str]:
    """Resolve `paths` (relative, wildcards allowed) to include patterns: themselves, and what their links point to.

    [] means "everything", because a link leads to the root itself.
    """
    resolved: set[str] = set()
    for path in paths:
        _resolve(root, path, resolved)
    return _without_nested(sorted(resolved))


def _resolve(root: str, path: str, resolved: set[str]) -> None:
    rest, current = clean(path).lstrip("/"), ""
    while True:
        part, _, rest = rest.partition("/")
        current = posixpath.join(current, part)
        targets = _targets(root, current, wild=True)
        if not rest or targets:
            if current in resolved:
                return
            resolved.add(current)
        for target in targets:
            _resolve(root, posixpath.join(target, rest), resolved)
        if targets or not rest:
            return


def _targets(root: str, path: str, *, wild: bool) -> list[str]:
    """Give what `path` links to, as paths from the context's root; [] if it is no link or is not there."""
    folder, name = posixpath.split(path)
    if wild and _WILD.search(name):
        pattern = compile_pattern(name)
        names = _names(Path(root, folder))
        return [
            found for other in names if pattern.fullmatch(other) for found in _link(root, posixpath.join(folder, other))
        ]
    return _link(root, path)


def _link(root: str, path: str) -> list[str]:
    place = Path(root, path)
    try:
        if not stat.S_ISLNK(place.lstat().st_mode):
            return []
        target = str(place.readlink())
    except OSError:
        return []
    return [clean("/" + posixpath.join(posixpath.dirname(path), target))]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(found.name for found in folder.iterdir())
    except OSError:
        return []


def _without_nested(paths: list[str]) -> list[str]:
    kept: list[str] = []
    for path in paths:
        if path in ("", "."):
            return []
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
