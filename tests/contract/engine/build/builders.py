"""A builder with all its real parts, in the process of the test: stores on disk, runc, networks.

The rule that keeps it simple: one folder for everything, removed at the end; nothing of the daemon. Images come in as layers
that were written by hand.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.engine.build import records as build_records
from declarative.engine.build.builder import Builder
from declarative.engine.build.output import Made, Report, Text
from declarative.engine.build.request import BuildRequest
from declarative.engine.build.site import Parts
from declarative.engine.db import Database
from declarative.engine.events import Events
from declarative.engine.images import records as image_records
from declarative.engine.images.pull import Puller
from declarative.engine.images.registries import Registries, RegistrySettings
from declarative.engine.images.store import ImageStore, open_store
from declarative.engine.networks import networks as network_records
from declarative.engine.networks.networks import Networks
from declarative.engine.paths import Paths
from declarative.engine.runtime.runtime import Runtime
from declarative.engine.settings import Settings
from declarative.errors import NotFound
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor
from declarative.oci.reference import Reference
from declarative.registry.session import Settings as SessionSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from declarative.engine.build.output import Message

MTIME = 1485449953


@dataclass
class Said:
    """What a build told."""

    messages: list[Message] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(message.text for message in self.messages if isinstance(message, Text))

    @property
    def images(self) -> list[str]:
        return [message.id for message in self.messages if isinstance(message, Made)]

    @property
    def reports(self) -> list[Report]:
        return [message for message in self.messages if isinstance(message, Report)]


@dataclass
class Shop:
    """A builder and what it works with."""

    root: Path
    parts: Parts
    builder: Builder

    @property
    def images(self) -> ImageStore:
        return self.parts.images

    def build(
        self,
        dockerfile: str,
        files: Mapping[str, bytes | str] | None = None,
        *,
        gone: Callable[[], bool] = lambda: False,
        said: Said | None = None,
        named: str = "Dockerfile",
        **request: Any,
    ) -> tuple[Digest, Said]:
        """Build from a Dockerfile and small files; `named` is the Dockerfile that is asked for."""
        heard = said or Said()
        context = archive({"Dockerfile": dockerfile} | dict(files or {}))
        id_ = self.builder.build(BuildRequest(dockerfile=named, **request), [context], heard.messages.append, gone)
        return id_, heard

    def config(self, id_: Digest) -> dict[str, Any]:
        """Give an image's configuration as the document that it is."""
        document: dict[str, Any] = json.loads(self.images.get(id_).raw)
        return document

    def files(self, id_: Digest) -> dict[str, tarfile.TarInfo]:
        """Give all files of an image, its layers applied one over the other by an independent reader."""
        return flatten(self.layers(id_))

    def content(self, id_: Digest, path: str) -> bytes:
        """Give the content of a file of an image."""
        for blob in reversed(self.layers(id_)):
            with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
                try:
                    found = tar.extractfile(path)
                except KeyError:
                    continue
                assert found is not None
                return found.read()
        raise FileNotFoundError(path)

    def layers(self, id_: Digest) -> list[bytes]:
        """Give the layers of an image as tar archives, bottom first."""
        found = []
        for layer in self.images.get(id_).layers:
            with self.images.blobs.open(layer.digest) as file:
                data = file.read()
            found.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
        return found

    def add_image(self, name: str, layer: bytes, config: Mapping[str, Any]) -> Digest:
        """Add an image of one layer, an uncompressed tar archive."""
        diff_id = Digest.of_bytes(layer)
        digest = self.images.blobs.add(layer)
        descriptor = Descriptor(media_type=media.OCI_LAYER, digest=digest, size=len(layer))
        self.images.snapshots.unpack((descriptor,), (diff_id,))
        raw = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": dict(config),
                "rootfs": {"type": "layers", "diff_ids": [str(diff_id)]},
                "history": [{"created_by": "tests"}],
            }
        ).encode()
        image = self.images.add(raw, (descriptor,))
        self.images.tag(image.id, Reference.parse(name))
        return image.id


@contextmanager
def shop(**settings: Any) -> Iterator[Shop]:
    """Give a builder of its own."""
    root = Path(tempfile.mkdtemp(prefix="bld", dir="/var/tmp"))
    paths = Paths(root=root / "d", run=root / "r")
    paths.run.mkdir()
    made = Settings(paths=paths, cgroup_parent=root.name, **settings)
    db = Database(paths.database, (image_records.SCHEMA, network_records.SCHEMA, build_records.SCHEMA))
    events = Events(time.time_ns)
    images = open_store(paths, db, events)
    registries = Registries(RegistrySettings(session=SessionSettings()))
    networks = Networks(paths, db, events)
    runtime = Runtime(paths)
    parts = Parts(
        settings=made,
        images=images,
        runtime=runtime,
        networks=networks,
        cache=build_records.StepCache(db),
        puller=Puller(images, registries),
        clock=time.time_ns,
        container=_no_container,
    )
    try:
        yield Shop(root=root, parts=parts, builder=Builder(parts))
    finally:
        runtime.close()
        networks.close()
        registries.close()
        images.close()
        db.close()
        shutil.rmtree(root, ignore_errors=True)


def _no_container(name: str) -> int:
    raise NotFound("", f"No such container: {name}")


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """Write a tar archive of small files; a name that ends in a slash is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.mtime = MTIME
            data = content.encode() if isinstance(content, str) else content
            if name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
            else:
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def flatten(layers: list[bytes]) -> dict[str, tarfile.TarInfo]:
    """Apply layers one over the other (image-spec, layer.md)."""
    found: dict[str, tarfile.TarInfo] = {}
    for blob in layers:
        with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
            for entry in tar:
                _apply(found, entry, tar)
    return found


def _apply(found: dict[str, tarfile.TarInfo], entry: tarfile.TarInfo, tar: tarfile.TarFile) -> None:
    path = entry.name.strip("/")
    folder, _, name = path.rpartition("/")
    if name.startswith(".wh."):
        gone = folder if name == ".wh..wh..opq" else f"{folder}/{name[4:]}".strip("/")
        for known in list(found):
            if known.startswith(f"{gone}/") or (known == gone and name != ".wh..wh..opq"):
                del found[known]
        return
    if not entry.isdir():
        for known in [known for known in found if known.startswith(f"{path}/")]:
            del found[known]
    data = b""
    if entry.islnk():
        target = found[entry.linkname.strip("/")]
        entry.size, data = target.size, target.pax_headers["content"]  # type: ignore[assignment]
        entry.type = target.type
    elif entry.isfile():
        file = tar.extractfile(entry)
        data = file.read() if file else b""
    entry.pax_headers = dict(entry.pax_headers) | {"content": data}  # type: ignore[assignment]
    found[path] = entry


def sha256(data: bytes) -> str:
    """Give the digest of a file's content."""
    return hashlib.sha256(data).hexdigest()
