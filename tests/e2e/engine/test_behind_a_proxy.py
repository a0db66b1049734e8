"""The embedded engine where the way out is a proxy, and the registry has a certificate of a private authority."""

from __future__ import annotations

import http.server
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests import certificates
from tests.e2e.engine.clients import IMAGE, Daemon
from tests.embedded import EmbeddedEngine
from tests.forward_proxy import serve_proxy
from tests.registry_server import serve_registry
from tests.sockets import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.forward_proxy import ForwardProxy


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with serve_proxy() as made:
        yield made


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Serve a registry whose authority `certs.d` knows; give the name that only the proxy knows."""
    authority = certificates.make_authority(tmp_path / "ca")
    files = certificates.issue(authority, tmp_path / "server", names="DNS:registry.test,DNS:other.test")
    with serve_registry(tmp_path, tls=(files / "cert.pem", files / "key.pem")) as address:
        name = f"registry.test:{address.rpartition(':')[2]}"
        folder = tmp_path / "certs.d" / name
        folder.mkdir(parents=True)
        (folder / "ca.crt").write_bytes((authority / "ca.pem").read_bytes())
        yield name


@pytest.fixture
def daemon(tmp_path: Path, proxy: ForwardProxy, registry: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    del registry
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://me:secret@"))
    monkeypatch.setenv("NO_PROXY", "near.test")
    with EmbeddedEngine(own_network=False, options=(f"--registry-certs={tmp_path}/certs.d",)) as engine:
        yield Daemon(engine=engine, home=tmp_path)


def test_a_registry_is_reached_by_the_proxy_and_trusted_by_its_folder(
    daemon: Daemon, proxy: ForwardProxy, registry: str, tmp_path: Path
) -> None:
    daemon.docker("tag", IMAGE, f"{registry}/app:1")
    daemon.docker("push", f"{registry}/app:1")
    daemon.docker("rmi", f"{registry}/app:1")
    daemon.docker("pull", f"{registry}/app:1")

    assert set(proxy.asked) == {f"CONNECT {registry}"}
    port = registry.rpartition(":")[2]
    said = daemon.fails("pull", f"other.test:{port}/app:1")
    assert f"put the registry's CA into {tmp_path}/certs.d/other.test:{port}/ca.crt" in said
    before = len(proxy.asked)
    daemon.fails("pull", f"near.test:{port}/app:1")
    assert len(proxy.asked) == before


def test_what_add_fetches_comes_by_the_proxy_but_from_loopback(
    daemon: Daemon, proxy: ForwardProxy, tmp_path: Path
) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web/file").write_text("fetched")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving(server):
        port = server.server_port
        lines = f"ADD http://web.test:{port}/file /far\nADD http://127.0.0.1:{port}/file /near\n"
        daemon.docker("build", "-t", "fetched", "-", stdin=f"FROM {IMAGE}\n{lines}")

    assert proxy.asked == [f"GET http://web.test:{port}/file"]
    assert daemon.run("fetched", "cat", "/far", "/near") == "fetchedfetched"


def test_the_proxies_are_told_without_their_passwords(daemon: Daemon, proxy: ForwardProxy) -> None:
    told = daemon.out("info", "--format", "{{.HTTPProxy}} {{.HTTPSProxy}} {{.NoProxy}}")

    assert told == f"{proxy.url} {proxy.url.replace('://', '://xxxxx:xxxxx@')} near.test"
