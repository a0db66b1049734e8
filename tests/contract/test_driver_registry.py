"""The port's promises about registries: pull, push, tags read and moved, and errors that are never read as "absent"."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from declarative.core import actions as do
from declarative.core.state import LABEL_NAME, ImageConfig
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings
from declarative.errors import Denied, NotFound, Unavailable
from declarative.registry.client import RegistryClient
from declarative.registry.credentials import Credential, registry_auth_header
from declarative.registry.retry import RetryPolicy
from tests.registry_server import free_port, serve_registry
from tests.sockets import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.bench import Bench


def _publish(bench: Bench, registry: str, *tags: str, env: str = "1") -> str:
    """Build an image and push it under `tags`; its id."""
    bench.reach(int(registry.rpartition(":")[2]))
    built = bench.build(f"FROM busybox\nENV A={env}\n", f"app:{env}")
    for tag in tags:
        reference = f"{registry}/{bench.stack}/app:{tag}"
        bench.do(do.TagImage(source=built, reference=reference))
        bench.do(do.PushImage(reference=reference))
    return bench.look().references[built]


def test_what_is_pushed_is_read_back_tag_by_tag(bench: Bench, registry: str) -> None:
    repository = f"{registry}/{bench.stack}/app"
    assert bench.look(repositories=frozenset({repository})).registry == {repository: {}}
    one = _publish(bench, registry, "1.0.0", "latest")
    two = _publish(bench, registry, "2.0.0", env="2")
    tags = bench.look(repositories=frozenset({repository})).registry[repository]
    assert {tag: found.image_id for tag, found in tags.items()} == {"1.0.0": one, "latest": one, "2.0.0": two}
    assert tags["1.0.0"].digest == tags["latest"].digest != tags["2.0.0"].digest
    assert tags["2.0.0"].labels[LABEL_NAME] == "app"
    image = bench.look().images[two]
    assert image.digests[repository] == tags["2.0.0"].digest


def test_a_remote_tag_moves_and_goes_alone(bench: Bench, registry: str) -> None:
    repository = f"{registry}/{bench.stack}/app"
    _publish(bench, registry, "1.0.0", "latest")
    _publish(bench, registry, "2.0.0", env="2")

    def tags() -> dict[str, str]:
        found = bench.look(repositories=frozenset({repository})).registry[repository]
        return {tag: remote.digest for tag, remote in found.items()}

    before = tags()
    for _ in range(2):
        bench.do(do.RetagRemote(repository=repository, source="2.0.0", tag="latest"))
    assert tags() == {**before, "latest": before["2.0.0"]}
    for _ in range(2):
        bench.do(do.UntagRemote(repository=repository, tag="latest"))
    assert tags() == {"1.0.0": before["1.0.0"], "2.0.0": before["2.0.0"]}
    with pytest.raises(NotFound):
        bench.do(do.RetagRemote(repository=repository, source="9.9.9", tag="latest"))


def test_a_pull_brings_the_image_and_its_digest(bench: Bench, registry: str) -> None:
    image_id = _publish(bench, registry, "1")
    reference = f"{registry}/{bench.stack}/app:1"
    bench.do(do.UntagImage(reference=reference))
    assert reference not in bench.look().references
    bench.do(do.PullImage(reference=reference))
    actual = bench.look(references=frozenset({reference}), refresh=frozenset({reference}))
    assert actual.references[reference] == image_id
    digest = actual.latest[reference]
    assert actual.images[image_id].digests[reference.rpartition(":")[0]] == digest
    pinned = f"{registry}/{bench.stack}/app@{digest}"
    bench.do(do.PullImage(reference=pinned))
    assert bench.look().references[pinned] == image_id


def test_what_the_registry_does_not_have_is_not_found(bench: Bench, registry: str) -> None:
    _publish(bench, registry, "1")
    missing = f"{registry}/{bench.stack}/app:9"
    with pytest.raises(NotFound) as caught:
        bench.do(do.PullImage(reference=missing))
    assert missing in str(caught.value)
    assert bench.look(refresh=frozenset({missing})).latest == {}
    with pytest.raises(NotFound):
        bench.do(do.PushImage(reference=f"{registry}/{bench.stack}/never-built:1"))


def test_a_registry_that_is_down_is_unavailable_and_not_empty(bench: Bench) -> None:
    gone = f"127.0.0.1:{free_port()}/{bench.stack}/app"
    if bench.memory is not None:
        bench.memory.registry.faults[gone] = Unavailable("registry", "does not answer")
    else:
        _impatient(bench)
    with pytest.raises(Unavailable):
        bench.look(repositories=frozenset({gone}))
    with pytest.raises(Unavailable):
        bench.look(refresh=frozenset({f"{gone}:1"}))
    with pytest.raises(Unavailable):
        bench.do(do.PullImage(reference=f"{gone}:1"))
    bench.do(do.TagImage(source="busybox:latest", reference=f"{gone}:1"))
    with pytest.raises(Unavailable):
        bench.do(do.PushImage(reference=f"{gone}:1"))
    bench.do(do.UntagImage(reference=f"{gone}:1"))


class _Sick(BaseHTTPRequestHandler):
    """A registry that answers everything with one status."""

    status = 500

    def _answer(self) -> None:
        self.send_response(self.status)
        body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}' if self.status == 429 else b"oops"
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - the names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_in_trouble_is_unavailable_and_not_empty(real_bench: Bench, status: int) -> None:
    handler = type("Sick", (_Sick,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving(server):
        port = server.server_address[1]
        real_bench.reach(port)
        _impatient(real_bench)
        repository = f"127.0.0.1:{port}/{real_bench.stack}/app"
        for ask in (
            lambda: real_bench.look(repositories=frozenset({repository})),
            lambda: real_bench.look(refresh=frozenset({f"{repository}:1"})),
            lambda: real_bench.do(do.PullImage(reference=f"{repository}:1")),
            lambda: real_bench.do(do.RetagRemote(repository=repository, source="1", tag="2")),
        ):
            with pytest.raises(Unavailable):
                ask()


def _impatient(bench: Bench, credential: Credential | None = None) -> None:
    """Let a real engine's driver try registries once only, with a password if there is one."""
    assert bench.engine is not None
    retry = RetryPolicy(attempts=1)
    around = Surroundings(
        salt=lambda: "00",
        auth_header=lambda domain: registry_auth_header(credential, domain),
        registry=lambda domain, _: RegistryClient(domain, credential=lambda _: credential, retry=retry),
    )
    bench.driver.close()
    bench.driver = DockerDriver(UnixEndpoint(path=str(bench.engine.socket_path)), around)


def test_a_password_opens_the_registry_and_a_wrong_one_is_denied(real_bench: Bench, tmp_path: Path) -> None:
    with serve_registry(tmp_path, htpasswd={"ann": "right"}) as registry:
        real_bench.reach(int(registry.rpartition(":")[2]))
        repository = f"{registry}/{real_bench.stack}/app"
        reference = f"{repository}:1"
        real_bench.do(do.TagImage(source="busybox:latest", reference=reference))
        for credential in (None, Credential(username="ann", password="wrong")):
            _impatient(real_bench, credential)
            with pytest.raises(Denied):
                real_bench.do(do.PushImage(reference=reference))
            with pytest.raises(Denied):
                real_bench.look(repositories=frozenset({repository}))
            with pytest.raises(Denied):
                real_bench.do(do.PullImage(reference=reference))
            with pytest.raises(Denied):
                real_bench.look(refresh=frozenset({reference}))
        _impatient(real_bench, Credential(username="ann", password="right"))
        real_bench.do(do.PushImage(reference=reference))
        real_bench.do(do.PullImage(reference=reference))
        actual = real_bench.look(repositories=frozenset({repository}), refresh=frozenset({reference}))
        assert actual.registry[repository]["1"].digest == actual.latest[reference]


def test_without_a_password_the_header_is_an_empty_document() -> None:
    around = Surroundings(salt=lambda: "00")
    assert json.loads(base64.urlsafe_b64decode(around.auth_header("docker.io"))) == {}


def test_images_of_others_can_be_pulled_in_memory_too() -> None:
    from tests.contract.bench import memory_bench

    bench = memory_bench({"redis:7": ImageConfig(command=("redis-server",))})
    bench.do(do.PullImage(reference="redis:7"))
    assert "redis:7" in bench.look().references
