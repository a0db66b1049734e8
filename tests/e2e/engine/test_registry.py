"""Registries: pull and push by tag and digest, passwords, search, manifests, and what faults look like."""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.engine.clients import IMAGE
from tests.registry_server import serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


def ask(address: str, path: str) -> tuple[int, Any, str]:
    """GET from a registry: status, decoded body, digest."""
    connection = http.client.HTTPConnection(address, timeout=10)
    accepted = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    connection.request("GET", path, headers={"Accept": accepted})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    digest = answer.headers.get("Docker-Content-Digest", "")
    connection.close()
    return answer.status, body, digest


def test_push_and_pull(daemon: Daemon, pushed: str) -> None:
    daemon.docker(
        "build", "-t", f"{pushed}/team/app:1", "-", stdin=f"FROM {IMAGE}\nRUN echo content > /file\nLABEL test=push\n"
    )
    made = daemon.inspect(f"{pushed}/team/app:1", kind="image")["Id"]
    said = daemon.out("push", f"{pushed}/team/app:1")
    assert f"The push refers to repository [{pushed}/team/app]" in said
    digest = re.search(r"1: digest: (sha256:[0-9a-f]{64}) size: \d+", said)[1]  # type: ignore[index]
    status, manifest, served = ask(pushed, "/v2/team/app/manifests/1")
    assert (status, served, manifest["config"]["digest"]) == (200, digest, made)
    assert daemon.inspect(made, kind="image")["RepoDigests"] == [f"{pushed}/team/app@{digest}"]
    again = daemon.out("push", f"{pushed}/team/app:1")
    assert again.count("Layer already exists") == 2
    daemon.docker("rmi", f"{pushed}/team/app:1")
    said = daemon.out("pull", f"{pushed}/team/app:1")
    assert f"Digest: {digest}" in said
    assert f"Status: Downloaded newer image for {pushed}/team/app:1" in said
    assert said.splitlines()[-1] == f"{pushed}/team/app:1"
    assert daemon.inspect(f"{pushed}/team/app:1", kind="image")["Id"] == made
    assert f"Status: Image is up to date for {pushed}/team/app:1" in daemon.out("pull", f"{pushed}/team/app:1")
    assert daemon.run(f"{pushed}/team/app:1", "cat", "/file") == "content"


def test_by_digest_and_all_tags(daemon: Daemon, pushed: str) -> None:
    for tag in ("1", "2", "latest"):
        daemon.docker(
            "build", "-q", "-t", f"{pushed}/app:{tag}", "-", stdin=f"FROM {IMAGE}\nLABEL test=tags tag={tag}\n"
        )
    said = daemon.out("push", "--all-tags", f"{pushed}/app")
    assert said.count("digest: sha256:") == 3
    digest = ask(pushed, "/v2/app/manifests/2")[2]
    for tag in ("1", "2", "latest"):
        daemon.docker("rmi", f"{pushed}/app:{tag}")
    daemon.docker("pull", f"{pushed}/app@{digest}")
    found = daemon.inspect(f"{pushed}/app@{digest}", kind="image")
    assert (found["RepoTags"], found["RepoDigests"]) == ([], [f"{pushed}/app@{digest}"])
    assert daemon.run(f"{pushed}/app@{digest}", "echo", "by digest") == "by digest"
    assert daemon.lines("images", "--digests", "--format", "{{.Digest}}", f"{pushed}/app") == [digest]
    daemon.docker("pull", f"{pushed}/app")
    daemon.docker("pull", "-q", "-a", f"{pushed}/app")
    assert set(daemon.lines("images", "--format", "{{.Tag}}", f"{pushed}/app")) >= {"1", "2", "latest"}


def test_what_is_not_there(daemon: Daemon, pushed: str) -> None:
    assert "manifest unknown" in daemon.fails("pull", f"{pushed}/nosuch:1") or "not found" in daemon.fails(
        "pull", f"{pushed}/nosuch:1"
    )
    assert "An image does not exist locally with the tag" in daemon.fails("push", f"{pushed}/nosuch:1")
    assert "connection refused" in daemon.fails("pull", "127.0.0.1:1/nosuch:1").lower()


@pytest.fixture
def guarded(daemon: Daemon, tmp_path: Path) -> Iterator[str]:
    with serve_registry(tmp_path / "guarded", htpasswd={"me": "secret"}) as address:
        daemon.engine.reach(int(address.rpartition(":")[2]))
        yield address


def test_login_push_pull_logout(daemon: Daemon, guarded: str) -> None:
    daemon.docker("tag", IMAGE, f"{guarded}/app:1")
    said = daemon.fails("push", f"{guarded}/app:1")
    assert "no basic auth credentials" in said or "docker login" in said
    said = daemon.fails("login", "-u", "me", "--password-stdin", guarded, stdin="wrong")
    assert "unauthorized" in said.lower()
    ended = daemon.docker("login", "-u", "me", "--password-stdin", guarded, stdin="secret")
    assert "Login Succeeded" in ended.stdout
    assert "digest: sha256:" in daemon.out("push", f"{guarded}/app:1")
    daemon.docker("rmi", f"{guarded}/app:1")
    daemon.docker("pull", f"{guarded}/app:1")
    daemon.docker("rmi", f"{guarded}/app:1")
    daemon.docker("logout", guarded)
    said = daemon.fails("pull", f"{guarded}/app:1")
    assert any(word in said for word in ("no basic auth credentials", "unauthorized", "docker login"))


def test_a_manifest_is_inspected_without_a_pull(daemon: Daemon, pushed: str) -> None:
    daemon.docker("tag", IMAGE, f"{pushed}/app:1")
    daemon.docker("push", f"{pushed}/app:1")
    found = json.loads(daemon.out("manifest", "inspect", "--insecure", f"{pushed}/app:1"))
    assert found["schemaVersion"] == 2
    assert len(found["layers"]) == 1
    status, answer = daemon.engine.api("GET", f"/distribution/{pushed}/app:1/json")
    assert status == 200
    assert answer["Descriptor"]["digest"] == ask(pushed, "/v2/app/manifests/1")[2]
    assert answer["Platforms"][0]["os"] == "linux"


def test_layers_that_another_repository_has_are_mounted(daemon: Daemon, pushed: str) -> None:
    daemon.docker("tag", IMAGE, f"{pushed}/one:1")
    daemon.docker("push", f"{pushed}/one:1")
    daemon.docker("tag", IMAGE, f"{pushed}/two:1")
    said = daemon.out("push", f"{pushed}/two:1")
    assert "Mounted from one" in said


def test_two_pulls_of_the_same_both_succeed(daemon: Daemon, pushed: str) -> None:
    daemon.docker(
        "build", "-q", "-t", f"{pushed}/app:1", "-", stdin=f"FROM {IMAGE}\nRUN head -c 3000000 /dev/urandom > /random\n"
    )
    daemon.docker("push", f"{pushed}/app:1")
    daemon.docker("rmi", f"{pushed}/app:1")
    processes = [daemon.start("pull", f"{pushed}/app:1", stdin=None) for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert daemon.run(f"{pushed}/app:1", "sh", "-c", "wc -c < /random") == "3000000"


def test_search(embedded: Daemon, tmp_path: Path) -> None:
    """A registry's catalogue is searched: dockerd asks the Hub's own interface alone, which no registry here has."""
    with serve_registry(tmp_path / "registry") as address:
        embedded.engine.reach(int(address.rpartition(":")[2]))
        for name in ("web/httpd", "db"):
            embedded.docker("tag", IMAGE, f"{address}/{name}:1")
            embedded.docker("push", f"{address}/{name}:1")
        assert "httpd" in embedded.out("search", f"{address}/httpd")
        assert "db" not in embedded.out("search", "--format", "{{.Name}}", f"{address}/httpd").replace(address, "")


def test_what_one_engine_pushes_the_other_pulls_with_equal_digests(
    embedded: Daemon, docker26: Any, tmp_path: Path
) -> None:
    from tests.e2e.engine.clients import Daemon

    theirs = Daemon(engine=docker26, home=tmp_path)
    with serve_registry(tmp_path / "registry") as address:
        for engine in (embedded.engine, docker26):
            engine.reach(int(address.rpartition(":")[2]))
        for number, (there, here) in enumerate(((theirs, embedded), (embedded, theirs))):
            name = f"{address}/app{number}:1"
            there.docker("build", "-q", "-t", name, "-", stdin=f"FROM {IMAGE}\nRUN echo {there.name} > /file\n")
            there.docker("push", name)
            here.docker("pull", name)
            assert here.run(name, "cat", "/file") == there.name
            one, two = (daemon.inspect(name, kind="image") for daemon in (there, here))
            assert (one["Id"], one["RepoDigests"]) == (two["Id"], two["RepoDigests"])
            for daemon in (there, here):
                daemon.docker("rmi", "-f", name)
