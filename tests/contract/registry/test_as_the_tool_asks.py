"""The tool's own registry client as it is set up by a person's environment: proxies, and a private authority."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from declarative.cli.connection import _World
from declarative.cli.context import Context
from declarative.cli.screen import Screen
from declarative.oci.digest import Digest
from tests import certificates
from tests.forward_proxy import serve_proxy
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LAYER = b"layer"


def test_a_registry_behind_a_proxy_with_an_authority_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("declarative.registry.session.DOCKER_CERTS", str(tmp_path / "certs.d"))
    authority = certificates.make_authority(tmp_path / "ca")
    files = certificates.issue(authority, tmp_path / "server", names="DNS:registry.test")
    with serve_registry(tmp_path, tls=(files / "cert.pem", files / "key.pem")) as address, serve_proxy() as proxy:
        name = f"registry.test:{address.rpartition(':')[2]}"
        (tmp_path / "certs.d" / name).mkdir(parents=True)
        (tmp_path / "certs.d" / name / "ca.crt").write_bytes((authority / "ca.pem").read_bytes())
        nowhere = Screen(stream=io.StringIO())
        environ = {"HTTPS_PROXY": proxy.url, "HOME": str(tmp_path)}
        context = Context(environ=environ, folder=tmp_path, stdin=io.BytesIO(), out=nowhere, err=nowhere)
        with _World(context).registry(name, False) as client:
            client.upload_blob("app", Digest.of_bytes(LAYER), lambda offset: [LAYER[offset:]], size=len(LAYER))
            found = b"".join(client.open_blob("app", Digest.of_bytes(LAYER), size=len(LAYER)))

    assert found == LAYER
    assert proxy.asked == [f"CONNECT {name}"]
