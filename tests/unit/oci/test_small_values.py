"""Digests, platforms and limits."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.platform import Platform
from declarative.oci.ulimit import Ulimit
from tests.shared_cases import load_cases

UNITS: dict[str, Any] = load_cases("units/go-units.json")
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_of_bytes() -> None:
    assert str(Digest.of_bytes(b"")) == EMPTY
    assert Digest.parse(EMPTY) == Digest.of_chunks([]) == Digest.of_chunks([b"", b""])
    assert Digest.parse(EMPTY).short == "e3b0c44298fc"
    assert Digest.of_bytes(b"a", "sha512") == Digest.parse(str(Digest.of_bytes(b"a", "sha512")))


@pytest.mark.parametrize(
    "text", ["", "sha256", "sha256:", EMPTY.upper(), EMPTY + "0", EMPTY + "\n", "md5:" + "a" * 32, "sha256:" + "g" * 64]
)
def test_not_a_digest(text: str) -> None:
    with pytest.raises(Invalid):
        Digest.parse(text)


def test_content_is_checked_and_other_content_named() -> None:
    digest = Digest.of_bytes(b"hello")

    assert digest.check(b"hello") == b"hello"
    with pytest.raises(DigestMismatch, match="web/blob: expected sha256:2cf24d"):
        digest.check(b"hell", "web/blob")


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("Linux/ARM64", "linux/arm64"),
        ("macos/arm64", "darwin/arm64"),
        ("arm64", "linux/arm64"),
        ("i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platform(text: str, platform: str) -> None:
    parsed = Platform.parse(text)

    assert platform == str(parsed)
    assert parsed == Platform.parse(str(parsed)) == parsed.normalised()


@pytest.mark.parametrize(
    "text", ["", "linux", "frobnitz", "a/b/c/d", "linux/", "/amd64", "linux/am d64", "linux/amd64\n"]
)
def test_not_a_platform(text: str) -> None:
    with pytest.raises(Invalid):
        Platform.parse(text)


def test_what_runs_here() -> None:
    assert [str(p) for p in Platform.parse("linux/arm/v7").runnable()] == [
        "linux/arm/v7",
        "linux/arm/v6",
        "linux/arm/v5",
    ]
    assert [str(p) for p in Platform.parse("linux/amd64/v2").runnable()] == ["linux/amd64/v2", "linux/amd64"]
    assert [str(p) for p in Platform.parse("linux/s390x").runnable()] == ["linux/s390x"]
    assert Platform.local() == Platform.parse(str(Platform.local()))


@pytest.mark.parametrize("case", UNITS["ulimit"], ids=lambda case: case["input"])
def test_ulimit(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(Invalid):
            Ulimit.parse(case["input"])
        return

    limit = Ulimit.parse(case["input"])

    assert (case["name"], case["soft"], case["hard"]) == (limit.name, limit.soft, limit.hard)
    assert limit == Ulimit.parse(str(limit))


def test_imports_are_cheap() -> None:
    modules = ["reference", "digest", "units", "platform", "media", "documents", "config", "matching", "ulimit"]
    code = f"import sys\nfor m in {modules}: __import__('declarative.oci.' + m)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()

    assert not {"urllib3", "ssl", "asyncio", "subprocess", "logging", "tenacity", "importlib.metadata"} & set(loaded)
