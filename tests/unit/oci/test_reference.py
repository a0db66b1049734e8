"""References against the conformance cases of github.com/distribution/reference."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci import reference as grammar
from declarative.oci.digest import Digest
from declarative.oci.reference import Reference, parse_any
from tests.shared_cases import load_cases

CASES: dict[str, Any] = load_cases("reference/distribution-reference.json")
WORDS = {
    "ErrNameEmpty": "empty",
    "ErrReferenceInvalidFormat": "invalid image reference",
    "digest.ErrDigestInvalidLength": "invalid digest length",
    "digest.ErrDigestUnsupported": "unsupported digest algorithm",
    "ErrNameContainsUppercase": "lower case",
    "ErrNameTooLong": "too long",
}
HEX = "2690af59371e9eca9453dc29882643f46e5ca47ec2862bd517b5e17351325153"


@pytest.mark.parametrize("case", CASES["parse"], ids=lambda case: case["input"][:40])
def test_strict(case: dict[str, str]) -> None:
    if case["error"]:
        with pytest.raises(Invalid, match=WORDS[case["error"]]):
            Reference.parse_strict(case["input"])
        return

    parsed = Reference.parse_strict(case["input"])

    assert case["repository"] == parsed.name
    assert case["domain"] == parsed.domain
    assert case["tag"] == (parsed.tag or "")
    assert case["digest"] == (str(parsed.digest) if parsed.digest else "")
    assert case["input"] == str(parsed)


@pytest.mark.parametrize("case", CASES["with_name_failure"], ids=lambda case: case["input"][:40])
def test_a_bare_name_is_refused(case: dict[str, str]) -> None:
    if grammar.NAME.fullmatch(case["input"]):
        with pytest.raises(Invalid, match=WORDS[case["error"]]):
            Reference.parse_strict(case["input"])


@pytest.mark.parametrize("case", CASES["domain_and_path_strict"], ids=lambda case: case["input"])
def test_strict_split(case: dict[str, str]) -> None:
    parsed = Reference.parse_strict(case["input"])

    assert (case["domain"], case["path"]) == (parsed.domain, parsed.path)


@pytest.mark.parametrize("case", CASES["with_tag"], ids=lambda case: case["combined"])
def test_with_tag(case: dict[str, str]) -> None:
    reference = Reference.parse_strict(case["name"])
    if "digest" in case:
        reference = reference.with_digest(_unchecked(case["digest"]))

    assert case["combined"] == str(reference.with_tag(case["tag"]))


@pytest.mark.parametrize("case", CASES["with_digest"], ids=lambda case: case["combined"])
def test_with_digest(case: dict[str, str]) -> None:
    reference = Reference.parse_strict(case["name"])
    if "tag" in case:
        reference = reference.with_tag(case["tag"])

    assert case["combined"] == str(reference.with_digest(_unchecked(case["digest"])))


@pytest.mark.parametrize("name", CASES["normalized_valid_names"] + CASES["remote_valid_names"])
def test_normalised_valid(name: str) -> None:
    parsed = Reference.parse(name)

    assert Reference.parse(str(parsed)) == parsed


@pytest.mark.parametrize("name", CASES["normalized_invalid_names"] + CASES["remote_invalid_names"])
def test_normalised_invalid(name: str) -> None:
    with pytest.raises(Invalid):
        Reference.parse(name)


@pytest.mark.parametrize("case", CASES["normalized_info"], ids=lambda case: case["input"])
def test_normalised_parts(case: dict[str, str]) -> None:
    parsed = Reference.parse(case["input"])

    assert case["domain"] == parsed.domain
    assert case["path"] == parsed.path
    assert case["familiar"] == parsed.repository == parsed.familiar()
    assert case["full"] == parsed.name == parsed.canonical()


@pytest.mark.parametrize("case", CASES["normalized_split"], ids=lambda case: case["input"])
def test_normalised_split(case: dict[str, str]) -> None:
    parsed = Reference.parse(case["input"])

    assert (case["domain"], case["path"]) == (parsed.domain, parsed.path)


@pytest.mark.parametrize("case", CASES["parse_any"], ids=lambda case: case["input"])
def test_any(case: dict[str, Any]) -> None:
    parsed = parse_any(case["input"])

    assert case["is_digest"] == isinstance(parsed, Digest)
    assert case["string"] == str(parsed)


@pytest.mark.parametrize("case", CASES["parse_docker_ref"], ids=lambda case: case["name"])
def test_addressed(case: dict[str, str]) -> None:
    assert case["expected"] == str(Reference.parse(case["input"]).addressed())


@pytest.mark.parametrize("case", CASES["tag_and_digest"], ids=lambda case: case["input"])
def test_tag_beside_a_digest(case: dict[str, str]) -> None:
    parsed = Reference.parse(case["input"])

    assert case["full"] == str(parsed)
    assert case["input"] == parsed.familiar()


@pytest.mark.parametrize("case", CASES["regexp_domain"], ids=lambda case: case["input"])
def test_domain_grammar(case: dict[str, Any]) -> None:
    assert case["match"] == (grammar.DOMAIN.fullmatch(case["input"]) is not None)


@pytest.mark.parametrize("case", CASES["regexp_full_name"], ids=lambda case: case["input"][:40] or "empty")
def test_name_grammar(case: dict[str, Any]) -> None:
    match = grammar.NAME.fullmatch(case["input"])

    assert case["match"] == (match is not None)
    if match is not None and "groups" in case:
        assert case["groups"] == [match["domain"] or "", match["path"]]


@pytest.mark.parametrize("case", CASES["regexp_reference"], ids=lambda case: case["input"])
def test_reference_grammar(case: dict[str, Any]) -> None:
    match = grammar.REFERENCE.fullmatch(case["input"])

    assert case["match"] == (match is not None)
    if match is not None:
        assert case["groups"] == [match["name"], match["tag"] or "", match["digest"] or ""]


@pytest.mark.parametrize("case", CASES["regexp_identifier"], ids=lambda case: case["input"][:20])
def test_identifier_grammar(case: dict[str, Any]) -> None:
    assert case["match"] == (grammar.IDENTIFIER.fullmatch(case["input"]) is not None)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a b", "a" * 129, "a\n", "é", "a/b", "a:b"])
def test_bad_tag(tag: str) -> None:
    with pytest.raises(Invalid, match="not a tag"):
        Reference.parse("redis").with_tag(tag)


@pytest.mark.parametrize("text", ["redis\n", "redis:7\n", "rédis", "redis:٣", "\0", "a" * 1_000_000, "a/" * 500_000])
def test_hostile_text(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        Reference.parse(text)

    assert len(str(caught.value)) < 500


def test_parts() -> None:
    parsed = Reference.parse(f"ghcr.io/acme/web:1.9@sha256:{HEX}")

    assert parsed.name == "ghcr.io/acme/web"
    assert parsed.repository == "ghcr.io/acme/web"
    assert str(parsed.bare) == "ghcr.io/acme/web"
    assert parsed.with_tag("2").tag == "2"
    assert hash(parsed) == hash(Reference.parse(str(parsed)))


def _unchecked(text: str) -> Digest:
    """Build a digest as short as these cases have them; only composing is tested."""
    algorithm, _, digits = text.partition(":")
    return Digest(algorithm=algorithm, hex=digits)
