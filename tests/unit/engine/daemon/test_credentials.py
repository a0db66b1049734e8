"""Who a client is to registries."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.daemon.credentials import domain_of, of_config_header, of_document, of_header
from declarative.registry.credentials import Credential, registry_auth_header


def _packed(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize(
    ("document", "credential"),
    [
        ({"username": "u", "password": "p", "serveraddress": "s"}, Credential(username="u", password="p")),
        ({"identitytoken": "t"}, Credential(identity_token="t")),
        ({"registrytoken": "t"}, Credential(registry_token="t")),
        ({"auth": base64.b64encode(b"u:p:q").decode()}, Credential(username="u", password="p:q")),
        ({"auth": "!"}, None),
        ({"username": 5}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_header_of_pull_and_push(document: object, credential: Credential | None) -> None:
    packed = _packed(document)

    assert of_header({"x-registry-auth": packed}) == credential
    assert of_header({"x-registry-auth": packed.rstrip("=")}) == credential


def test_what_our_own_tool_sends_is_understood() -> None:
    known = Credential(username="u", password="ü?>")

    assert of_header({"x-registry-auth": registry_auth_header(known, "ghcr.io")}) == known


def test_a_build_has_credentials_by_registry() -> None:
    ada, bob = ({"username": name, "password": "p"} for name in ("ada", "bob"))
    header = _packed({"https://index.docker.io/v1/": ada, "127.0.0.1:5000": bob})
    found = of_config_header({"x-registry-config": header})

    assert {domain: credential.username for domain, credential in found.items()} == {
        "docker.io": "ada",
        "127.0.0.1:5000": "bob",
    }


@pytest.mark.parametrize("header", ["", "!", "e30", _packed([]), _packed({"a": 5}), _packed({"a": {}})])
def test_a_build_without_credentials(header: str) -> None:
    assert of_config_header({"x-registry-config": header}) == {}
    assert of_config_header({}) == {}
    assert of_header({}) is None


@given(st.text())
def test_no_header_brings_it_down(text: str) -> None:
    of_header({"x-registry-auth": text})
    of_config_header({"x-registry-config": text})


def test_no_secret_is_shown() -> None:
    assert "sesame" not in repr(of_document({"username": "u", "password": "sesame", "identitytoken": "sesame"}))


@pytest.mark.parametrize(
    ("server", "domain"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("", "docker.io"),
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
    ],
)
def test_the_domain_of_a_server(server: str, domain: str) -> None:
    assert domain_of(server) == domain
