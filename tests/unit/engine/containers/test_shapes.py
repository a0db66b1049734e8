"""Documents of the API read into records and written back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.containers.config import Config, NetworkingConfig
from declarative.engine.containers.host import HostConfig
from declarative.engine.containers.shapes import read, write
from declarative.errors import Invalid

_TEXTS = st.none() | st.lists(st.text(max_size=5), max_size=3)
_PAIRS = st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3)


def test_what_is_not_said_has_gos_zero_value() -> None:
    document = write(read(HostConfig, {}))
    assert document["Binds"] is None
    assert document["Memory"] == 0
    assert document["PidsLimit"] is None
    assert document["RestartPolicy"] == {"Name": "", "MaximumRetryCount": 0}
    assert "Init" not in document
    assert "Mounts" not in document


@given(
    binds=_TEXTS, dns=_TEXTS, sysctls=_PAIRS, memory=st.integers(-(1 << 62), 1 << 62), init=st.none() | st.booleans()
)
def test_a_document_comes_back_as_it_was(
    binds: list[str] | None, dns: list[str] | None, sysctls: dict[str, str], memory: int, init: bool | None
) -> None:
    asked = {"Binds": binds, "Dns": dns, "Sysctls": sysctls, "Memory": memory, "Init": init}
    written = write(read(HostConfig, asked))
    assert written["Binds"] == binds  # null and [] are told apart
    assert written["Dns"] == dns
    assert written["Memory"] == memory
    assert written.get("Sysctls", {}) == sysctls
    assert written.get("Init") == init


def test_a_false_that_is_said_is_kept() -> None:
    assert write(read(HostConfig, {"Init": False, "OomKillDisable": False}))["Init"] is False


def test_null_inside_is_an_empty_text() -> None:
    assert read(Config, {"Labels": {"a": None, "b": "c"}}).labels == {"a": "", "b": "c"}
    assert read(Config, {"Cmd": ["sh", None]}).cmd == ("sh", "")


def test_a_text_is_a_command_of_one_word() -> None:
    assert read(Config, {"Cmd": "true"}).cmd == ("true",)


def test_ports_and_endpoints() -> None:
    host = read(HostConfig, {"PortBindings": {"80/tcp": [{"HostPort": "8080"}], "81/tcp": None}})
    assert write(host)["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": None}
    networking = read(
        NetworkingConfig, {"EndpointsConfig": {"net": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}, "b": None}}
    )
    endpoints = networking.endpoints or {}
    assert endpoints["b"] is None
    endpoint = endpoints["net"]
    assert endpoint is not None
    assert endpoint.addresses is not None
    assert endpoint.addresses.ipv4 == "1.2.3.4"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"Memory": "a"}, "Memory"),
        ({"Memory": True}, "Memory"),
        ({"Memory": 1 << 63}, "Memory"),
        ({"Binds": "a"}, "Binds"),
        ({"Binds": [1]}, "Binds"),
        ({"Sysctls": {"a": 1}}, "Sysctls"),
        ({"RestartPolicy": []}, "RestartPolicy"),
        ({"Mounts": [{"Type": 1}]}, "Mounts[0].Type"),
        ({"PortBindings": {"80/tcp": [{"HostPort": 80}]}}, "PortBindings.80/tcp[0].HostPort"),
        ({"Privileged": "yes"}, "Privileged"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(document: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(HostConfig, document)
    assert f"invalid JSON: {path} must be" in str(raised.value)
