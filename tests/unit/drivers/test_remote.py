"""What is read of a registry that sends more than it said, or says that it will."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest

from declarative.drivers.docker.remote import tags_of
from declarative.errors import DeclarativeError
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.registry.client import RegistryClient
from tests.contract.registry.misbehaving import misbehave

if TYPE_CHECKING:
    from tests.contract.registry.misbehaving import Request, Script

CONFIG = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": {"a": "b"}}}).encode()
PIECE = b"x" * (1 << 20)


def serving(size: int, sent: list[int]) -> Script:
    """Serve one tag whose configuration is said to have `size` bytes, and never ends; `sent` counts megabytes."""
    config = {"mediaType": media.DOCKER_CONFIG, "digest": str(Digest.of_bytes(CONFIG)), "size": size}
    document = {"schemaVersion": 2, "mediaType": media.DOCKER_MANIFEST, "config": config, "layers": []}

    def script(request: Request) -> None:
        if "/tags/list" in request.path:
            request.answer(200, b'{"tags": ["1"]}')
        elif "/manifests/" in request.path:
            request.answer(200, json.dumps(document).encode(), {"Content-Type": media.DOCKER_MANIFEST})
        else:
            request.send_response(200)
            request.send_header("Content-Length", str(64 * len(PIECE)))
            request.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(64):
                    request.wfile.write(PIECE)
                    sent.append(1)

    return script


def test_no_more_is_read_of_a_configuration_than_its_manifest_says() -> None:
    sent: list[int] = []
    with (
        misbehave(serving(len(CONFIG), sent)) as server,
        RegistryClient(server.address) as client,
        pytest.raises(DeclarativeError, match="is longer than its"),
    ):
        tags_of(lambda _: client, [f"{server.address}/app"])

    assert len(sent) < 32


def test_what_is_too_large_to_be_a_configuration_is_not_read() -> None:
    sent: list[int] = []
    with misbehave(serving(1 << 40, sent)) as server, RegistryClient(server.address) as client:
        (found,) = tags_of(lambda _: client, [f"{server.address}/app"]).values()

    assert found["1"].labels == {}
    assert sent == []
