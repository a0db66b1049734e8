"""The image that tests run: Debian's static busybox and nothing else, as a `docker save` archive.

The rule that keeps it simple: the same bytes on every machine with the same busybox, so that every engine gives the image
the same id, and tests may compare engines.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from functools import cache
from pathlib import Path

BASE_IMAGE = "busybox:latest"
_BUSYBOX = Path("/bin/busybox")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPOCH = "1970-01-01T00:00:00Z"


@cache
def archive() -> bytes:
    """Return the archive for `POST /images/load`, uncompressed. FileNotFoundError without busybox-static."""
    layer = _layer()
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": _EPOCH,
        # as process 1, busybox's programs heed no other signal: each stop would take ten seconds
        "config": {
            "Cmd": ["sh"],
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
            "StopSignal": "SIGKILL",
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created": _EPOCH, "created_by": "tests/base_image.py"}],
    }
    encoded = json.dumps(config).encode()
    name = hashlib.sha256(encoded).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": [BASE_IMAGE], "Layers": ["layer.tar"]}]
    return _tar({name: encoded, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder, mode in {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755}.items():
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        _add(tar, "bin/busybox", _BUSYBOX.read_bytes(), 0o755)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n", 0o644)
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", 0o644)
        for applet in _applets():
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return buffer.getvalue()


def _applets() -> list[str]:
    listed = subprocess.run([_BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return sorted(set(listed) - {"busybox"})


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            _add(tar, name, content, 0o644)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
