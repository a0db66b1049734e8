"""The client against the real registry program: tags, manifests, blobs, passwords, TLS."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from declarative.errors import Denied, Failed, Invalid, NotFound, Unavailable
from declarative.oci import media
from declarative.oci.digest import Digest
from declarative.oci.documents import parse_manifest
from declarative.oci.reference import Reference
from declarative.registry.client import RegistryClient
from declarative.registry.credentials import Credential, DockerConfig
from declarative.registry.retry import ONCE
from declarative.registry.session import Settings
from tests.registry_server import free_port, serve_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

USER, PASSWORD = "ada", "correct horse"
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_registry(tmp_path_factory.mktemp("open")) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_registry(tmp_path_factory.mktemp("guarded"), htpasswd={USER: PASSWORD}) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[RegistryClient]:
    with RegistryClient(address) as made:
        yield made


def content_of(content: bytes) -> Callable[[int], Iterable[bytes]]:
    return lambda offset: (content[start : start + 1000] for start in range(offset, len(content), 1000))


def copy_tag(client: RegistryClient, repository: str, source: Digest, tag: str) -> Digest:
    stored = client.manifest(Reference(domain=client.domain, path=repository, digest=source))
    return client.put_manifest(repository, tag, stored.media_type, stored.content)


def push_image(client: RegistryClient, repository: str, tag: str, layer: bytes = b"layer") -> Digest:
    for blob in (CONFIG, layer):
        client.upload_blob(repository, Digest.of_bytes(blob), content_of(blob), size=len(blob))
    document = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": _descriptor(media.DOCKER_CONFIG, CONFIG),
        "layers": [_descriptor(media.DOCKER_LAYER_GZIP, layer)],
    }
    return client.put_manifest(repository, tag, media.DOCKER_MANIFEST, json.dumps(document).encode())


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": str(Digest.of_bytes(content))}


def test_an_image_goes_there_and_comes_back(client: RegistryClient, address: str) -> None:
    digest = push_image(client, "acme/web", "1.9.1", b"x" * 5000)

    reference = Reference.parse(f"{address}/acme/web:1.9.1")
    assert client.resolve(reference) == digest
    stored = client.manifest(reference)
    assert (stored.digest, stored.media_type) == (digest, media.DOCKER_MANIFEST)
    assert stored == client.manifest(reference.with_digest(digest))
    layer = parse_manifest(stored.content, stored.media_type).layers[0]
    assert b"".join(client.open_blob("acme/web", layer.digest, size=layer.size)) == b"x" * 5000


def test_absent_is_an_answer(client: RegistryClient, address: str) -> None:
    push_image(client, "acme/known", "1")

    assert client.resolve(Reference.parse(f"{address}/acme/known:2")) is None
    assert client.resolve(Reference.parse(f"{address}/acme/unknown:1")) is None
    assert client.resolve(Reference.parse(f"{address}/acme/known@sha256:{'0' * 64}")) is None
    assert client.tags("acme/unknown") == ()
    with pytest.raises(NotFound, match=r"acme/known.*404.*MANIFEST_UNKNOWN"):
        client.manifest(Reference.parse(f"{address}/acme/known:2"))


def test_a_tag_is_copied_byte_for_byte(client: RegistryClient, address: str) -> None:
    digest = push_image(client, "acme/tags", "1.9.2")

    for tag in ("1.9", "1", "latest"):
        assert copy_tag(client, "acme/tags", digest, tag) == digest

    assert sorted(client.tags("acme/tags")) == ["1", "1.9", "1.9.2", "latest"]
    assert client.resolve(Reference.parse(f"{address}/acme/tags:1")) == digest


def test_a_tag_moves(client: RegistryClient, address: str) -> None:
    first, second = push_image(client, "acme/moves", "1.0", b"a"), push_image(client, "acme/moves", "1.1", b"b")
    copy_tag(client, "acme/moves", first, "latest")

    copy_tag(client, "acme/moves", second, "latest")

    assert client.resolve(Reference.parse(f"{address}/acme/moves:latest")) == second
    assert client.resolve(Reference.parse(f"{address}/acme/moves:1.0")) == first


def test_deletion(client: RegistryClient, address: str) -> None:
    digest = push_image(client, "acme/gone", "1")

    assert client.delete_manifest("acme/gone", digest)

    assert client.resolve(Reference.parse(f"{address}/acme/gone:1")) is None
    assert client.tags("acme/gone") == ()
    assert not client.delete_manifest("acme/gone", digest)


def test_deletion_not_enabled(tmp_path: Path) -> None:
    with serve_registry(tmp_path, deletion=False) as address, RegistryClient(address) as client:
        digest = push_image(client, "acme/kept", "1")

        with pytest.raises(Exception, match=r"405.*deletion has to be enabled"):
            client.delete_manifest("acme/kept", digest)


@pytest.mark.parametrize("chunk", [None, 1, 999, 1000, 100_000])
@pytest.mark.parametrize("size", [0, 1, 2500])
def test_blobs_of_all_sizes(client: RegistryClient, size: int, chunk: int | None) -> None:
    if chunk == 1 and size > 1:
        chunk = 700  # a request per byte proves nothing more
    blob = os.urandom(size)
    digest = Digest.of_bytes(blob)
    repository = f"acme/blobs-{size}-{chunk or 0}"  # two random blobs of one byte may be the same blob
    moved: list[int] = []
    assert size == 0 or not client.blob_exists(repository, digest)

    client.upload_blob(repository, digest, content_of(blob), size=size, chunk=chunk, progress=moved.append)

    assert client.blob_exists(repository, digest)
    assert sum(moved) == size
    assert b"".join(client.open_blob(repository, digest)) == blob
    assert b"".join(client.open_blob(repository, digest, size=size)) == blob


def test_a_download_goes_on_from_what_we_have(client: RegistryClient) -> None:
    blob = os.urandom(9000)
    digest = Digest.of_bytes(blob)
    client.upload_blob("acme/resume", digest, content_of(blob), size=len(blob))

    for kept in (0, 1, 4096, 8999, 9000):
        for size in (None, 9000):
            rest = client.open_blob("acme/resume", digest, size=size, have=[blob[:kept]])
            assert b"".join(rest) == blob[kept:]
    with pytest.raises(Failed, match="the bytes are"):
        list(client.open_blob("acme/resume", digest, have=[b"not what it was"]))


def test_a_blob_with_the_wrong_digest_is_refused(client: RegistryClient) -> None:
    wrong = Digest.of_bytes(b"something else")

    for chunk in (None, 500):
        with pytest.raises(Failed, match=r"400.*DIGEST_INVALID"):
            client.upload_blob("acme/wrong", wrong, content_of(b"y" * 1200), size=1200, chunk=chunk)

    assert not client.blob_exists("acme/wrong", wrong)


def test_a_blob_is_mounted(client: RegistryClient) -> None:
    blob = os.urandom(300)
    digest = Digest.of_bytes(blob)
    client.upload_blob("acme/from", digest, content_of(blob), size=300)

    assert client.mount_blob("acme/to", digest, "acme/from")
    assert b"".join(client.open_blob("acme/to", digest)) == blob
    assert not client.mount_blob("acme/to", Digest.of_bytes(b"nowhere"), "acme/from")


def test_many_threads_share_a_client(client: RegistryClient) -> None:
    blobs = [os.urandom(50_000) for _ in range(24)]

    def there_and_back(blob: bytes) -> bytes:
        digest = Digest.of_bytes(blob)
        client.upload_blob("acme/many", digest, content_of(blob), size=len(blob))
        return b"".join(client.open_blob("acme/many", digest, size=len(blob)))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(there_and_back, blobs)) == blobs


def test_a_broken_manifest_is_refused(client: RegistryClient) -> None:
    with pytest.raises(Failed, match=r"400.*MANIFEST"):
        client.put_manifest("acme/broken", "1", media.DOCKER_MANIFEST, b"{}")


@pytest.mark.parametrize(
    "repository", ["", "Upper", "a/../b", "../x", "a//b", "a?x", "a#b", "a b", "a:1", "h.de:5000/a"]
)
def test_an_address_cannot_be_smuggled_in(client: RegistryClient, repository: str) -> None:
    with pytest.raises(Invalid, match="not a repository name"):
        client.tags(repository)


def test_the_image_of_another_registry_is_refused(client: RegistryClient) -> None:
    with pytest.raises(Invalid, match="not an image of"):
        client.resolve(Reference.parse("ghcr.io/acme/web:1"))


def test_password(guarded: str) -> None:
    config = DockerConfig(auths={guarded: Credential(username=USER, password=PASSWORD)})
    with RegistryClient(guarded, credential=config.credential) as client:
        digest = push_image(client, "acme/secret", "1")

        assert client.resolve(Reference.parse(f"{guarded}/acme/secret:1")) == digest
        assert client.tags("acme/secret") == ("1",)
        assert client.delete_manifest("acme/secret", digest)


@pytest.mark.parametrize("credential", [None, Credential(username=USER, password="wrong"), Credential()])
def test_wrong_password_is_denied_and_never_absent(guarded: str, credential: Credential | None) -> None:
    reference = Reference.parse(f"{guarded}/acme/secret:none")
    blob = Digest.of_bytes(b"1")
    with RegistryClient(guarded, credential=lambda _: credential) as client:
        for ask in (
            lambda: client.resolve(reference),
            lambda: client.manifest(reference),
            lambda: client.tags("acme/secret"),
            lambda: client.blob_exists("acme/secret", blob),
            lambda: client.upload_blob("acme/secret", blob, content_of(b"1"), size=1),
            lambda: client.put_manifest("acme/secret", "1", media.OCI_MANIFEST, b"{}"),
            lambda: client.delete_manifest("acme/secret", blob),
        ):
            with pytest.raises(Denied, match=f"{guarded}/acme/secret.*401.*docker login {guarded}") as caught:
                ask()
            assert "wrong" not in str(caught.value)


def test_nobody_there() -> None:
    address = f"127.0.0.1:{free_port()}"
    with RegistryClient(address, retry=ONCE) as client, pytest.raises(Unavailable, match="refused"):
        client.resolve(Reference.parse(f"{address}/acme/web:1"))


def test_a_name_that_does_not_resolve() -> None:
    words = r"registry\.invalid/web: no proper answer to HEAD manifest 1: .*resolve"
    with (
        RegistryClient("registry.invalid", retry=ONCE) as client,
        pytest.raises(Unavailable, match=words),
    ):
        client.resolve(Reference.parse("registry.invalid/web:1"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "ca.crt", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=tests", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate, *names], check=True, capture_output=True)
    with serve_registry(folder, tls=(certificate, key)) as address:
        yield address, certificate


def test_a_ca_of_our_own(secure: tuple[str, Path], tmp_path: Path) -> None:
    address, certificate = secure
    (tmp_path / address).mkdir()
    (tmp_path / address / "ca.crt").write_bytes(certificate.read_bytes())
    with RegistryClient(address, settings=Settings(certs=tmp_path)) as client:
        digest = push_image(client, "acme/tls", "1")

        assert client.resolve(Reference.parse(f"{address}/acme/tls:1")) == digest


def test_an_insecure_registry(secure: tuple[str, Path]) -> None:
    address, _ = secure
    with RegistryClient(address, settings=Settings(insecure=frozenset({address}))) as client:
        assert client.tags("acme/none") == ()


def test_an_unknown_ca(secure: tuple[str, Path]) -> None:
    address, _ = secure
    settings = Settings(certs=Path("/none"))
    text = rf"CERTIFICATE.*put the registry's CA into /none/{address}/ca.crt"
    with RegistryClient(address, settings=settings) as client, pytest.raises(Unavailable, match=text) as caught:
        client.tags("acme/none")
    assert "0x" not in str(caught.value)


def test_a_broken_ca_file(secure: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = secure
    (tmp_path / address).mkdir()
    (tmp_path / address / "ca.crt").write_text("no certificate")
    settings = Settings(certs=tmp_path)
    with RegistryClient(address, settings=settings) as client, pytest.raises(Invalid, match="cannot be read"):
        client.tags("acme/none")


@pytest.mark.engine
def test_what_docker_pushes_we_read_and_what_we_tag_docker_pulls(address: str, tmp_path: Path) -> None:
    """One image through a real daemon, both ways."""
    name = f"{address}/declarative-registry-test/hello-{os.getpid()}"
    (tmp_path / "file").write_text("hello")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /\nLABEL a=b\n")
    docker = ["docker", "-H", "unix:///var/run/docker.sock"]
    try:
        for command in (["build", "-q", "-t", f"{name}:1.0", tmp_path], ["push", "-q", f"{name}:1.0"]):
            subprocess.run([*docker, *command], check=True, capture_output=True)
        reference = Reference.parse(f"{name}:1.0")
        with RegistryClient(address) as client:
            digest = client.resolve(reference)
            assert digest is not None
            copy_tag(client, reference.path, digest, "1")
        pulled = subprocess.run([*docker, "pull", "-q", f"{name}:1"], check=True, capture_output=True, text=True)
        assert pulled.stdout.strip() == f"{name}:1"
    finally:
        subprocess.run([*docker, "image", "rm", f"{name}:1.0", f"{name}:1"], check=False, capture_output=True)
