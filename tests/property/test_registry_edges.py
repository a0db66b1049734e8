"""Laws of what comes from outside: challenges, configurations and answers are read or refused, never crash."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from declarative.errors import DeclarativeError, Invalid, NotFound
from declarative.registry.challenge import parse_challenges
from declarative.registry.credentials import DockerConfig
from declarative.registry.failure import Answer, Question, error_of, redact

words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=8).filter(lambda text: text[0] != "-")
values = st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | st.text(alphabet='abz=," \\\t', max_size=40))
def test_any_header_is_read_somehow(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@given(st.lists(st.tuples(words, st.dictionaries(words, values, min_size=1, max_size=4)), max_size=4))
def test_what_is_written_properly_is_read_back(written: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        scheme + " " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in written
    )

    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(header)] == written


@given(
    st.binary(max_size=60)
    | st.fixed_dictionaries({"auths": json_values, "credHelpers": json_values}).map(lambda v: json.dumps(v).encode())
    | st.dictionaries(st.text(max_size=10), json_values).map(lambda v: json.dumps({"auths": v}).encode())
)
def test_any_configuration_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(Invalid):
        DockerConfig.parse(content)


@given(st.integers(100, 599), st.binary(max_size=80) | json_values.map(lambda v: json.dumps({"errors": v}).encode()))
def test_any_answer_has_its_error(status: int, body: bytes) -> None:
    error = error_of(Question(subject="r/x", method="GET", what="y"), Answer(status=status, headers={}, body=body))

    assert isinstance(error, DeclarativeError)
    assert len(str(error)) < 600
    assert isinstance(error, NotFound) <= (status == 404)


@given(st.text(max_size=400))
def test_what_is_shown_is_one_short_line(text: str) -> None:
    shown = redact(text)

    assert len(shown) <= 201
    assert shown.isprintable()
