"""What `docker login` left behind, and the helpers that keep the rest."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from declarative.errors import Denied, Invalid
from declarative.registry.credentials import (
    DOCKER_HUB_KEY,
    Credential,
    DockerConfig,
    ask_helper,
    registry_auth_header,
)

if TYPE_CHECKING:
    from pathlib import Path

ADA = Credential(username="ada", password="pass:word")


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(document: object, **more: dict[str, str]) -> DockerConfig:
    return DockerConfig.parse(json.dumps(document).encode(), **more)  # type: ignore[arg-type]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Make an environment whose PATH has a few helpers."""
    answers = {
        "good": '[ "$1" = get ] && [ "$(cat)" = ghcr.io ] && echo "{\\"Username\\":\\"ada\\",\\"Secret\\":\\"pass:word\\"}"',
        "token": 'echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"refresh\\"}"',
        "empty": "echo 'credentials not found in native keychain'; exit 1",
        "broken": "echo 'error: secret=hunter2' >&2; exit 3",
        "nonsense": "echo '{\"Username\": hunter2'",
        "hub": f'[ "$(cat)" = "{DOCKER_HUB_KEY}" ] && echo "{{\\"Username\\":\\"hub\\",\\"Secret\\":\\"x\\"}}"',
    }
    for name, script in answers.items():
        program = tmp_path / f"docker-credential-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return {"PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"}


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        (DOCKER_HUB_KEY, "docker.io"),
        ("docker.io", "docker.io"),
        ("https://docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_found_under_every_spelling(key: str, domain: str) -> None:
    found = config({"auths": {"other.example": {"auth": packed("x:y")}, key: {"auth": packed("ada:pass:word")}}})

    assert found.credential(domain) == ADA


@pytest.mark.parametrize(
    "document", [{}, {"auths": {}}, {"auths": None}, {"auths": {"ghcr.io": {}}}, {"auths": {"ghcr.io": None}}]
)
def test_nothing_known(document: object) -> None:
    assert config(document).credential("ghcr.io") is None
    assert DockerConfig.parse(b"").credential("ghcr.io") is None


def test_other_forms() -> None:
    entries = {
        "a.example": {"username": "ada", "password": "pass:word"},
        "b.example": {"identitytoken": "refresh", "auth": packed("<token>:")},
        "c.example": {"registrytoken": "bearer"},
        "d.example": {"auth": packed("ada:pass:word\0\0")},
    }
    found = config({"auths": entries, "HttpHeaders": {"x": "y"}, "psFormat": "table"})

    assert found.credential("a.example") == ADA
    assert found.credential("b.example") == Credential(username="<token>", identity_token="refresh")
    assert found.credential("c.example") == Credential(registry_token="bearer")
    assert found.credential("d.example") == ADA


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"auths": []}',
        b'{"auths": {"ghcr.io": "x"}}',
        b'{"auths": {"ghcr.io": {"auth": "!"}}}',
        b'{"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}',  # no colon in it
        b'{"credsStore": 1}',
        b'{"credHelpers": {"a": 1}}',
    ],
)
def test_broken(content: bytes) -> None:
    with pytest.raises(Invalid, match="the file") as caught:
        DockerConfig.parse(content, subject="the file")

    assert "hunter2" not in str(caught.value)


def test_helpers(environment: dict[str, str]) -> None:
    helpers = {"ghcr.io": "good", "token.example": "token", "https://empty.example": "empty"}
    auths = {"empty.example": {"auth": packed("ada:pass:word")}}
    found = config({"credHelpers": helpers, "auths": auths}, environment=environment)

    assert found.credential("ghcr.io") == ADA
    assert found.credential("token.example") == Credential(identity_token="refresh")
    assert found.credential("empty.example") == ADA
    assert found.credential("other.example") is None


def test_a_store_for_all(environment: dict[str, str]) -> None:
    found = config({"credsStore": "hub", "auths": {DOCKER_HUB_KEY: {}}}, environment=environment)

    assert found.credential("docker.io") == Credential(username="hub", password="x")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "exit code 3"),
        ("nonsense", "did not answer as one"),
        ("missing", "not on the PATH"),
        ("../../bin/sh", "not the name of a credential helper"),
    ],
)
def test_a_helper_that_does_not_work(environment: dict[str, str], name: str, words: str) -> None:
    with pytest.raises(Denied, match=words) as caught:
        ask_helper(name, "ghcr.io", environment=environment)

    assert "hunter2" not in str(caught.value)


def test_headers_for_the_engine() -> None:
    header = registry_auth_header(ADA, "ghcr.io")
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "ada",
        "password": "pass:word",
        "serveraddress": "ghcr.io",
    }
    token = registry_auth_header(Credential(identity_token="refresh"), "docker.io")
    assert json.loads(base64.urlsafe_b64decode(token)) == {"identitytoken": "refresh", "serveraddress": DOCKER_HUB_KEY}
    assert json.loads(base64.urlsafe_b64decode(registry_auth_header(None, "ghcr.io"))) == {"serveraddress": "ghcr.io"}


def test_secrets_do_not_print() -> None:
    found = config({"auths": {"ghcr.io": {"auth": packed("ada:hunter2"), "identitytoken": "hunter2"}}})

    assert "hunter2" not in repr(found)
    assert "hunter2" not in repr(found.credential("ghcr.io"))
