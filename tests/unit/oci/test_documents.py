"""Image documents against the conformance cases of image-spec, and documents that try to be two things."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from declarative.errors import Invalid
from declarative.oci import media
from declarative.oci.config import chain_ids, parse_config
from declarative.oci.config_write import encode_config
from declarative.oci.digest import Digest
from declarative.oci.documents import (
    Index,
    Manifest,
    parse_document,
    parse_index,
    parse_manifest,
)
from declarative.oci.platform import Platform
from tests.shared_cases import load_cases

if TYPE_CHECKING:
    from collections.abc import Callable

CASES: dict[str, Any] = load_cases("oci/image-spec.json")
PARSERS: dict[str, Callable[[bytes], object]] = {
    "config": parse_config,
    "manifest": parse_manifest,
    "index": parse_index,
    "imageIndex": parse_index,
}
KINDS = ["config", "manifest", "index"]
DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind in KINDS for case in CASES[kind]], ids=lambda value: str(value)[:20]
)
def test_conformance(kind: str, case: dict[str, Any]) -> None:
    if case["valid"]:
        PARSERS[kind](case["document"].encode())
        return
    with pytest.raises(Invalid):
        PARSERS[kind](case["document"].encode())


def test_half_a_surrogate_pair_is_read_as_docker_reads_it_and_can_be_written() -> None:
    content = (
        rb'{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]},"x":"\udfff",'
        rb'"config":{"Env":["ODD=\ud800x"],"Labels":{"\udc00":"\ud83d\ude00"}}}'
    )
    config = parse_config(content)

    assert config.run.env == ("ODD=\ufffdx",)
    assert config.run.labels == {"\ufffd": "\U0001f600"}
    assert json.loads(encode_config(config, content))["x"] == "\ufffd"


@pytest.mark.parametrize("case", CASES["backwards_compat"], ids=lambda case: case["kind"])
def test_docker_documents(case: dict[str, Any]) -> None:
    content = case["document"].encode()

    PARSERS[case["kind"]](content)

    assert case["digest_matches"] == (str(Digest.of_bytes(content)) == case["digest"])


def test_docker_documents_keep_their_family() -> None:
    index, manifest = (
        parse_document(case["document"].encode()) for case in CASES["backwards_compat"] if case["kind"] != "config"
    )

    assert isinstance(index, Index)
    assert index.media_type == media.DOCKER_LIST
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == media.DOCKER_MANIFEST
    assert sum(layer.size for layer in manifest.layers) == 2310272 + 913022 + 9861668 + 465


def test_docker_config_fields() -> None:
    config = parse_config(next(c["document"] for c in CASES["backwards_compat"] if c["kind"] == "config").encode())

    assert config.run.cmd == ("sh",)
    assert config.run.entrypoint == ("docker-entrypoint.sh",)
    assert config.run.env[1] == "DOCKER_BUCKET=get.docker.com"
    assert str(config.platform) == "linux/amd64"
    assert len(config.diff_ids) == sum(not entry.empty_layer for entry in config.history)


@pytest.mark.parametrize("case", CASES["chain_id"], ids=lambda case: str(len(case["diff_ids"])))
def test_chain_ids(case: dict[str, list[str]]) -> None:
    diff_ids = [Digest(algorithm="sha256", hex=text.removeprefix("sha256:")) for text in case["diff_ids"]]

    assert case["chain_ids"] == [str(chain) for chain in chain_ids(diff_ids)]


def test_no_layers_no_chain() -> None:
    assert chain_ids([]) == ()


@pytest.mark.parametrize(
    ("content", "media_type", "words"),
    [
        ({"schemaVersion": 2, "manifests": [], "layers": []}, media.OCI_MANIFEST, "both an image and an index"),
        ({"schemaVersion": 2, "manifests": [], "layers": []}, media.OCI_INDEX, "both an image and an index"),
        ({"schemaVersion": 2, "manifests": [], "mediaType": media.OCI_INDEX}, media.OCI_MANIFEST, "served as"),
        ({"schemaVersion": 1, "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+json", "schema 1"),
        ({"schemaVersion": 1, "manifests": []}, "", "schema version 1"),
        ({"schemaVersion": True, "manifests": []}, "", "whole number"),
        ({"schemaVersion": 2, "manifests": [1]}, "", "list of objects"),
        ({"schemaVersion": 2, "manifests": "x"}, "", "a list"),
        ({"schemaVersion": 2}, media.OCI_INDEX, "manifests is missing"),
        ({"schemaVersion": 2, "layers": []}, media.DOCKER_MANIFEST, "config is missing"),
        (
            {"schemaVersion": 2, "manifests": [{"mediaType": "a/b", "size": 1, "digest": DIGEST, "annotations": [1]}]},
            "",
            r"\.manifests\[0\]\.annotations",
        ),
        ([], "", "not a JSON object"),
    ],
)
def test_refused(content: object, media_type: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parse_document(json.dumps(content).encode(), media_type)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'"' + b"a" * 5_000_000 + b'"', b"nul"])
def test_hostile_bytes(content: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        parse_document(content)

    assert len(str(caught.value)) < 400


def test_docker_image_without_layers() -> None:
    config = {"mediaType": media.DOCKER_CONFIG, "size": 2, "digest": DIGEST}
    document = {"schemaVersion": 2, "mediaType": media.DOCKER_MANIFEST, "config": config, "layers": []}

    assert parse_manifest(json.dumps(document).encode()).layers == ()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("linux/amd64", 0),
        ("linux/x86_64", 0),
        ("linux/arm64", 2),
        ("linux/arm64/v8", 2),
        ("linux/arm/v7", 1),
        ("linux/arm/v6", 3),
        ("linux/arm/v5", None),
        ("linux/riscv64", None),
        ("windows/amd64", None),
    ],
)
def test_select(wanted: str, found: int | None) -> None:
    platforms = [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
        {"os": "linux", "architecture": "arm", "variant": "v6"},
        {"os": "unknown", "architecture": "unknown"},
    ]
    manifests = [
        {"mediaType": media.OCI_MANIFEST, "size": number, "digest": DIGEST, "platform": platform}
        for number, platform in enumerate(platforms)
    ]
    index = parse_index(json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())

    selected = index.select(Platform.parse(wanted))

    assert found == (selected.size if selected else None)
