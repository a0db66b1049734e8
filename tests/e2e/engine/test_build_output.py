"""Every line that a build sends, beside dockerd's classic builder: the same requests, and the same answers but for ids.

The rule that keeps it simple: raw requests, so that nothing of the stream is lost in a client; ids and digests are numbered in
the order in which they come up.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import tarfile
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from tests import sockets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.engine.clients import Daemon
    from tests.embedded import EmbeddedEngine
    from tests.engines import Engine

_ID = re.compile(r"\b(?:sha256:)?[0-9a-f]{64}\b|\b[0-9a-f]{12}\b")
_SUGGESTION = re.compile(r" (?:—|\(did you mean) .*$")

EVERYTHING = """\
ARG V=1
FROM busybox AS a
MAINTAINER me
ENV x=y z="q r"
LABEL l=m
WORKDIR /w/x
RUN echo hi
USER 1:1
EXPOSE 80 53/udp
VOLUME /v /u
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ONBUILD RUN true
SHELL ["/bin/sh","-c"]
ENTRYPOINT ["/bin/sh"]
CMD ["-c","x"]
ARG V
RUN echo $V
"""

BUILDS: dict[str, tuple[str, dict[str, str]]] = {
    "every instruction": (EVERYTHING, {}),
    "stages": ("FROM busybox AS a\nRUN echo a > /a\nFROM scratch\nCOPY --from=a /a /\nCOPY --from=0 /a /b\n", {}),
    "triggers": ("FROM busybox AS a\nONBUILD RUN echo t\nONBUILD ENV o=n\nFROM a\nENV b=c\n", {}),
    "files": ("FROM busybox\nCOPY f d/ /t/\nADD f /x\nCOPY --chown=1:2 f /y\n", {"f": "1", "d/g": "2"}),
    "errors go to the stream": ("FROM busybox\nRUN echo out; sleep 0.3; echo err >&2; sleep 0.3; echo more >&2\n", {}),
    "a failure": ("FROM busybox\nENV a=b\nRUN echo so; exit 7\nRUN never\n", {}),
    "a file that is missing": ("FROM busybox\nCOPY nope /\n", {}),
    "a file that is missing in a stage": ("FROM busybox AS a\nFROM scratch\nCOPY --from=a /nope /\n", {}),
    "nothing": ("FROM scratch\n", {}),
    "an unknown instruction": ("FROM busybox\n\nRNU x\n", {}),
    "an unknown flag": ("FROM busybox\nCOPY --bogus=1 a b\n", {}),
    "too few words": ("FROM busybox\nCOPY a\n", {}),
    "no stage": ("RUN x\n", {}),
    "empty continuations": ("FROM busybox\nRUN true \\\n\n  && true\nENV a=b \\\n\n\n c=d\nRUN \\\n# c\n true\n", {}),
    "comments and continuations": ("# c\nFROM busybox\nRUN echo a && \\\n# in between\n    echo b\n", {}),
}


def archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def send(
    engine: Engine, context: bytes, headers: Mapping[str, str] | None = None, /, **query: Any
) -> tuple[int, list[Any]]:
    """Send a build; give the status and the lines of the answer."""
    path = f"/v1.40/build?{urllib.parse.urlencode({'forcerm': '1', 'nocache': '1', **query})}"
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sockets.connect_unix(str(engine.socket_path))
    try:
        connection.request("POST", path, context, {"Content-Type": "application/x-tar", **(headers or {})})
        with connection.getresponse() as answer:
            status, body = answer.status, answer.read().decode()
    finally:
        connection.close()
    return status, [json.loads(line) for line in body.splitlines() if line.strip()]


def normal(lines: list[Any]) -> list[Any]:
    """Give the lines with ids numbered, text in one piece, errors without suggestions and in the words of all releases."""
    numbers: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        key = match[0].removeprefix("sha256:")[:12]
        return numbers.setdefault(key, f"<{len(numbers)}>")

    text = _ID.sub(named, json.dumps(lines))
    made: list[Any] = []
    for line in json.loads(text):
        if "stream" in line and made and "stream" in made[-1]:
            made[-1]["stream"] += line["stream"]
        else:
            made.append(line)
    for line in made:
        for holder in (line, line.get("errorDetail", {})):
            for key in ("error", "message"):
                if key in holder:
                    holder[key] = _SUGGESTION.sub("", holder[key]).lower().replace(": --", ": ").rstrip(".")
    return made


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_answers_as_the_classic_builder_does(
    name: str, docker_engine: Engine, embedded_engine: EmbeddedEngine
) -> None:
    dockerfile, files = BUILDS[name]
    context = archive({"Dockerfile": dockerfile, **files})
    theirs, ours = send(docker_engine, context), send(embedded_engine, context)

    assert (ours[0], normal(ours[1])) == (theirs[0], normal(theirs[1]))


def test_a_quiet_build_tells_its_id_and_a_failing_one_everything(
    docker_engine: Engine, embedded_engine: EmbeddedEngine
) -> None:
    good = archive({"Dockerfile": "FROM busybox\nRUN echo hi\n"})
    bad = archive({"Dockerfile": "FROM busybox\nRUN echo hi; exit 3\n"})
    for context in (good, bad):
        theirs, ours = send(docker_engine, context, q="1"), send(embedded_engine, context, q="1")

        assert (ours[0], normal(ours[1])) == (theirs[0], normal(theirs[1]))


def test_options_of_the_request_answer_alike(docker_engine: Engine, embedded_engine: EmbeddedEngine) -> None:
    context = archive({"Dockerfile": "FROM busybox AS a\nARG A\nRUN echo $A\nFROM a\n", "Other": "FROM busybox\n"})
    for query in (
        {"target": "a", "buildargs": '{"A":"1","B":"2"}'},
        {"target": "none"},
        {"labels": '{"b":"2","a":"1"}', "t": "labels:1"},
        {"dockerfile": "Other", "t": "other"},
        {"dockerfile": "Missing"},
        {"t": "Bad Name"},
    ):
        theirs, ours = send(docker_engine, context, **query), send(embedded_engine, context, **query)
        if "message" in theirs[1][0]:
            assert ours[0] >= 400
            assert list(ours[1][0]) == ["message"]
        else:
            assert (ours[0], normal(ours[1])) == (theirs[0], normal(theirs[1])), query


def test_secrets_come_in_a_header(embedded_engine: EmbeddedEngine) -> None:
    context = archive({"Dockerfile": "FROM busybox\nRUN --mount=type=secret,id=s,required wc -c < /run/secrets/s\n"})
    value = base64.urlsafe_b64encode(json.dumps({"s": base64.b64encode(b"12345").decode()}).encode()).decode()
    status, lines = send(embedded_engine, context, {"X-Build-Secrets": value})

    assert status == 200
    assert "5\n" in "".join(line.get("stream", "") for line in lines)
    _, lines = send(embedded_engine, context)
    assert "secret s: not found" in lines[-1]["error"]
    status, _ = send(embedded_engine, context, {"X-Build-Secrets": "%%%"})
    assert status == 400


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"version": "2"}, "BuildKit"),
        ({"squash": "1"}, "squash"),
        ({"outputs": '[{"Type":"local"}]'}, "outputs"),
        ({"securityopt": "x"}, "security options"),
    ],
)
def test_what_this_builder_has_not_says_so(embedded_engine: EmbeddedEngine, query: dict[str, str], words: str) -> None:
    status, lines = send(embedded_engine, archive({"Dockerfile": "FROM busybox\n"}), **query)

    assert status == 501
    assert words in lines[0]["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"buildargs": "[]"},
        {"buildargs": '{"a":1}'},
        {"labels": "{"},
        {"ulimits": '[{"Name":1}]'},
        {"cachefrom": '{"a":1}'},
        {"memory": "x"},
        {"platform": "a/b/c/d"},
        {"extrahosts": "nocolon"},
        {"t": "a@sha256:" + "0" * 64},
    ],
)
def test_a_parameter_that_is_none_is_refused(embedded_engine: EmbeddedEngine, query: dict[str, str]) -> None:
    status, lines = send(embedded_engine, archive({"Dockerfile": "FROM busybox\n"}), **query)

    assert status == 400
    assert list(lines[0]) == ["message"]


def test_prune_over_the_api(embedded: Daemon) -> None:
    embedded.docker("builder", "prune", "-f")
    embedded.docker("build", "-q", "-", stdin="FROM busybox\nRUN echo prune-me > /p\n")
    listed = json.loads(embedded.out("system", "df", "-v", "--format", "{{json .}}"))
    assert any("prune-me" in str(row) for row in listed["BuildCache"])

    out = embedded.out("builder", "prune", "-f")
    assert "Total reclaimed space: 9B" in out
    assert "invalid filter" in embedded.fails("builder", "prune", "-f", "--filter", "bogus=1")
