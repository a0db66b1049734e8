"""Answers into errors, and what an error must not show."""

from __future__ import annotations

import subprocess
import sys

import pytest

from declarative.errors import Failed, NotFound, Unavailable
from declarative.registry.failure import Answer, Question, Untrusted, error_of, no_answer, redact
from declarative.registry.retry import ONCE, RetryPolicy

QUESTION = Question(subject="ghcr.io/acme/web", method="GET", what="manifest 1.9")
JWT = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.AAAA"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer ***"),
        ("authorization: basic YWRhOng=", "authorization: basic ***"),
        (f"the token {JWT} is bad", "the token ***"),
        ('{"token":"abc","expires_in":3}', '{"token":"***","expires_in":3}'),
        ("/blob?X-Amz-Signature=abc&X-Amz-Date=5&part=1", "/blob?X-Amz-Signature=***&X-Amz-Date=***&part=1"),
        ("https://ada:pw@ghcr.io/v2/", "https://***@ghcr.io/v2/"),
        ("password=hunter2 user=ada", "password=*** user=ada"),
        ("a\n\tb\x07\x1b[0m", "a b??[0m"),
        ("", ""),
        ("x" * 500, "x" * 200 + "…"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    found = redact(text)

    assert found.startswith(shown) if "JWT" in text or JWT in text else found == shown
    assert JWT not in found


def test_an_error_names_everything() -> None:
    answer = Answer(
        status=400,
        headers={},
        body=b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"},{"code":"SIZE_INVALID","message":null}, 3]}',
    )

    error = error_of(QUESTION, answer)

    assert str(error) == (
        "ghcr.io/acme/web: the registry answered 400 to GET manifest 1.9 (MANIFEST_INVALID: no; SIZE_INVALID)"
    )
    assert isinstance(error, Failed)


def test_404_with_the_mark_of_a_registry() -> None:
    marked = Answer(status=404, headers={"docker-distribution-api-version": "registry/2.0"}, body=b"")

    assert isinstance(error_of(QUESTION, marked), NotFound)
    assert isinstance(error_of(QUESTION, Answer(status=404, headers={}, body=b"")), Unavailable)


def test_a_bad_certificate_is_not_worth_another_try() -> None:
    error = no_answer(QUESTION, OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))

    assert isinstance(error, Untrusted)
    assert not RetryPolicy().worth_it(error)


@pytest.mark.parametrize(("failures", "waits"), [(0, []), (1, [0.25]), (2, [0.25, 0.5]), (3, [0.25, 0.5, 1.0])])
def test_retry(failures: int, waits: list[float]) -> None:
    slept: list[float] = []
    calls: list[int] = []

    def function() -> str:
        calls.append(1)
        if len(calls) <= failures:
            raise Unavailable("x", "busy")
        return "done"

    assert RetryPolicy(sleep=slept.append).call(function) == "done"
    assert slept == waits


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (Unavailable("x", "busy"), 4),
        (Unavailable("x", "busy", retry_after=2), 4),
        (Unavailable("x", "busy", retry_after=31), 1),
        (Untrusted("x", "who are you"), 1),
        (NotFound("x", "gone"), 1),
        (Failed("x", "bad"), 1),
        (ValueError("ours"), 1),
    ],
)
def test_give_up(error: Exception, tries: int) -> None:
    calls: list[int] = []

    def function() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        RetryPolicy(sleep=lambda _: None).call(function)
    assert len(calls) == tries
    with pytest.raises(type(error)):
        ONCE.call(function)
    assert len(calls) == tries + 1


def test_waits_do_not_grow_for_ever() -> None:
    slept: list[float] = []

    def function() -> None:
        raise Unavailable("x", "busy")

    with pytest.raises(Unavailable):
        RetryPolicy(attempts=12, sleep=slept.append, longest_wait=5).call(function)
    assert slept == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]


def test_imports_are_lazy() -> None:
    """A client that is made and not used costs next to nothing."""
    code = (
        "import sys\nfrom declarative.registry.client import RegistryClient\n"
        "from declarative.registry.credentials import DockerConfig\n"
        "RegistryClient('ghcr.io', credential=DockerConfig.parse(b'').credential)\nprint(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()

    assert not {"urllib3", "ssl", "tenacity", "asyncio", "subprocess", "logging", "email", "http.client"} & set(loaded)
