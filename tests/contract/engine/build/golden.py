"""The base images of the golden builds, written as their fixture describes them.

The rule that keeps it simple: the same bytes in every run, so that digests can be compared.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

from tests.contract.engine.build.builders import MTIME
from tests.shared_cases import load_cases

FIXTURE: dict[str, Any] = load_cases("dockerfile/golden-fixture.json")
BUSYBOX = Path("/bin/busybox")


def base_layer(base: str) -> bytes:
    """Write the layer of a base image as the fixture describes it."""
    files = {**FIXTURE["busybox"]["files"], **(FIXTURE["alpine"]["extra_files"] if base == "alpine" else {})}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for text in FIXTURE["busybox"]["dirs"]:
            name, _, mode = text.partition(":")
            put(tar, name, b"", int(mode or "755", 8), tarfile.DIRTYPE)
        for name, content in sorted(files.items()):
            put(tar, name, content.encode(), 0o644)
        put(tar, "bin/busybox", BUSYBOX.read_bytes(), 0o755)
        for applet in FIXTURE["applets"]:
            put(tar, f"bin/{applet}", b"", 0o777, tarfile.SYMTYPE, "/bin/busybox")
    return buffer.getvalue()


def put(tar: tarfile.TarFile, name: str, data: bytes, mode: int, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname, entry.mtime = len(data), mode, kind, link, MTIME
    tar.addfile(entry, io.BytesIO(data))
