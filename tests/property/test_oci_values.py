"""Laws of the value types: what is printed parses back, and garbage raises Invalid and nothing else."""

from __future__ import annotations

import contextlib
import string

from hypothesis import given
from hypothesis import strategies as st

from declarative.errors import Invalid
from declarative.oci import units
from declarative.oci.config import parse_config
from declarative.oci.digest import Digest, DigestMismatch
from declarative.oci.documents import parse_document
from declarative.oci.matching import compile_pattern
from declarative.oci.platform import Platform
from declarative.oci.reference import REFERENCE, Reference
from declarative.oci.ulimit import Ulimit

references = st.from_regex(REFERENCE, fullmatch=True)
splits = st.lists(st.binary(max_size=40), max_size=8)
near_misses = st.text(alphabet=string.ascii_letters + string.digits + "._-/:@[]%*?\\^= \n", max_size=60) | st.text()


@given(references)
def test_a_reference_prints_and_parses_back(text: str) -> None:
    with contextlib.suppress(Invalid):
        parsed = Reference.parse(text)

        assert Reference.parse(parsed.canonical()) == parsed
        assert Reference.parse_strict(parsed.canonical()) == parsed
        assert parsed.addressed().addressed() == parsed.addressed()
        assert parsed.familiar().endswith(parsed.canonical()[len(parsed.name) :])


@given(references)
def test_a_strict_reference_prints_what_it_parsed(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert str(Reference.parse_strict(text)) == text


@given(near_misses)
def test_garbage_raises_invalid_only(text: str) -> None:
    parsers = (
        Reference.parse,
        Reference.parse_strict,
        Digest.parse,
        Platform.parse,
        Ulimit.parse,
        units.parse_size,
        units.parse_duration,
        compile_pattern,
    )
    for parser in parsers:
        with contextlib.suppress(Invalid):
            parser(text)


@given(st.binary() | st.recursive(st.none() | st.integers(), st.lists).map(lambda v: repr(v).encode()))
def test_documents_of_garbage_raise_invalid_only(content: bytes) -> None:
    for parser in (parse_document, parse_config):
        with contextlib.suppress(Invalid):
            parser(content)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_a_duration_prints_and_parses_back(nanoseconds: int) -> None:
    assert units.parse_duration(units.format_duration(nanoseconds)) == nanoseconds


@given(st.integers(0, 2**63 - 1))
def test_a_printed_size_is_right_to_four_digits(size: int) -> None:
    text = units.format_size(size)
    if "E" not in text:  # go-units writes exa, and does not read it
        assert abs(units.parse_size(text) - size) <= size * 0.0006 + 1


@given(st.integers(0, 2**63 - 1) | st.integers(0, 2**23).map(lambda size: size << 40))
def test_an_exact_size_prints_and_parses_back(size: int) -> None:
    assert units.parse_size(units.exact_size(size)) == size


@given(splits)
def test_a_digest_does_not_depend_on_the_pieces(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    digest = Digest.of_bytes(whole)

    assert Digest.of_chunks(chunks) == digest


@given(st.binary(min_size=1, max_size=50), st.data())
def test_any_changed_byte_is_noticed(content: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        Digest.of_bytes(content).check(bytes(changed))
    except DigestMismatch:
        return
    raise AssertionError("a changed byte went unnoticed")
