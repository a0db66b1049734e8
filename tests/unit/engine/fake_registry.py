"""A registry in memory that misbehaves as a test tells it to: real sockets, images made here."""

from __future__ import annotations

import contextlib
import gzip
import json
from typing import TYPE_CHECKING, Any

from declarative.oci import media
from declarative.oci.digest import Digest
from tests.contract.registry.misbehaving import Request, Server, misbehave
from tests.unit.engine.archives import layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class FakeRegistry:
    """Serves what is in it under any repository. `faults` get each request of a blob first, and say whether they answered."""

    def __init__(self) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.faults: list[Callable[[Request, Digest, bytes], bool]] = []
        self.server: Server

    def image(self, tag: str, *layers: Mapping[str, str], oci: bool = False, **config: Any) -> bytes:
        """Keep an image of layers of these files; give its manifest."""
        tars = [
            layer([{"type": "file", "path": name, "content": text} for name, text in files.items()]) for files in layers
        ]
        blobs = [gzip.compress(tar, 1, mtime=0) for tar in tars]
        diff_ids = [str(Digest.of_bytes(tar)) for tar in tars]
        document = {
            "os": "linux",
            "architecture": "amd64",
            **config,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        raw = json.dumps(document).encode()
        kind = media.OCI_MANIFEST if oci else media.DOCKER_MANIFEST
        kinds = (media.OCI_CONFIG, media.OCI_LAYER_GZIP) if oci else (media.DOCKER_CONFIG, media.DOCKER_LAYER_GZIP)
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self.keep(kinds[0], raw),
            "layers": [self.keep(kinds[1], blob) for blob in blobs],
        }
        return self.name(tag, kind, json.dumps(manifest).encode())

    def index(self, tag: str, images: Mapping[str, bytes]) -> bytes:
        """Keep an index: manifests by platform."""
        entries = []
        for platform, manifest in images.items():
            os_name, architecture, *variant = platform.split("/")
            found = {"os": os_name, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
            kind = json.loads(manifest)["mediaType"]
            entries.append({**described(kind, manifest), "platform": found})
        document = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries}
        return self.name(tag, media.OCI_INDEX, json.dumps(document).encode())

    def keep(self, kind: str, content: bytes) -> dict[str, object]:
        self.blobs[Digest.of_bytes(content)] = content
        return described(kind, content)

    def name(self, tag: str, kind: str, content: bytes) -> bytes:
        for name in (tag, str(Digest.of_bytes(content))):
            self.manifests[name] = (kind, content)
        return content

    def times(self, what: str) -> int:
        """How often something was asked for whose path ends so."""
        return sum(asked.path.endswith(what) for asked in self.server.log)

    def script(self, request: Request) -> None:
        _, _, rest = request.path.partition("/v2/")
        kind, name = rest.split("/")[-2:]
        if kind == "manifests" and name in self.manifests:
            media_type, content = self.manifests[name]
            digest = str(Digest.of_bytes(content))
            request.answer(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})
        elif kind == "blobs" and (content := self.blobs.get(Digest.parse(name), b"")):
            if not any(fault(request, Digest.parse(name), content) for fault in self.faults):
                answer_part(request, content)
        else:
            request.answer_errors(404, "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN")


def answer_part(request: Request, content: bytes) -> None:
    """Answer with what a Range header asks for."""
    asked = request.headers.get("Range", "")
    if not asked:
        request.answer(200, content)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    shown = f"bytes {start}-{len(content) - 1}/{len(content)}"
    request.answer(206, content[start:], {"Content-Range": shown})


def described(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": str(Digest.of_bytes(content)), "size": len(content)}


@contextlib.contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """Serve an empty one."""
    registry = FakeRegistry()
    with misbehave(registry.script) as server:
        registry.server = server
        yield registry
