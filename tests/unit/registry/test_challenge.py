"""WWW-Authenticate as servers write it, and as they should not."""

from __future__ import annotations

import pytest

from declarative.registry.challenge import Challenge, parse_challenges

BASIC = Challenge(scheme="basic", parameters={"realm": "tests"})


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ('Basic realm="tests"', [BASIC]),
        ("Basic realm=tests", [BASIC]),
        ('BASIC REALM = "tests"', [BASIC]),
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [
                Challenge(
                    scheme="bearer",
                    parameters={
                        "realm": "https://auth.docker.io/token",
                        "service": "registry.docker.io",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Bearer realm="a", Basic realm="tests"', [Challenge(scheme="bearer", parameters={"realm": "a"}), BASIC]),
        ('Basic realm="tests", Bearer realm="a"', [BASIC, Challenge(scheme="bearer", parameters={"realm": "a"})]),
        ("Negotiate, Basic realm=tests", [Challenge(scheme="negotiate"), BASIC]),
        ("Negotiate abc123==, Basic realm=tests", [Challenge(scheme="negotiate"), BASIC]),
        (r'Basic realm="a \"b\" \\ c, d=e"', [Challenge(scheme="basic", parameters={"realm": r'a "b" \ c, d=e'})]),
        (
            'Bearer realm="a",,error="x" , y=z',
            [Challenge(scheme="bearer", parameters={"realm": "a", "error": "x", "y": "z"})],
        ),
        (' , Basic realm="tests" , ', [BASIC]),
        ('Basic realm="tests" realm=other', [Challenge(scheme="basic"), Challenge(scheme="tests")][:1]),
        ('Basic realm="tests", realm="second"', [BASIC]),
        ('Basic realm="open', [Challenge(scheme="basic")]),
        ('"', []),
        ("=", []),
    ],
)
def test_parse(header: str, challenges: list[Challenge]) -> None:
    assert challenges == list(parse_challenges(header))
    assert [dict(one.parameters) for one in challenges] == [dict(one.parameters) for one in parse_challenges(header)]


def test_a_header_without_end() -> None:
    assert parse_challenges('Basic realm="' + "\\a" * 5_000_000) == (Challenge(scheme="basic"),)
    assert len(parse_challenges("a " * 5_000_000)) <= 16 * 1024
