"""The daemon against the published specification of the Engine API (1.47), and against whatever fits it.

schemathesis makes requests from the specification, right ones and wrong ones, and holds each answer to it: a status that is
documented or a refusal, a body of the documented shape, never a 500. The rule that keeps it simple: endpoints that wait, follow,
or go out to registries are left to tests of their own.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import response_schema_conformance

from declarative.engine.daemon.router import discover
from declarative.engine.daemon.unbuilt import UNBUILT
from tests.embedded import EmbeddedEngine
from tests.shared_cases import reference

if TYPE_CHECKING:
    from collections.abc import Iterator


_NULL_TOO = {
    "MemorySwappiness",
    "OomKillDisable",
}  # pointers in moby, null where nothing is said (control groups of version 2)


def _with_nulls(node: Any, name: str = "") -> Any:
    """Let maps and lists be null where the specification does not say so: Go writes an unset one so, and dockerd does."""
    if isinstance(node, list):
        return [_with_nulls(part) for part in node]
    if not isinstance(node, dict):
        return node
    made = {key: _with_nulls(part, key) for key, part in node.items()}
    nullable = node.get("type") in ("object", "array") and "in" not in node  # a property may be called "type"
    nullable = nullable or name in _NULL_TOO
    return made | {"x-nullable": True} if nullable else made


_SPECIFICATION = yaml.safe_load(reference("docker-engine-api-v1.47.yaml").read_text())
_EXAMPLES = 12  # for each operation; some seventy of them, within a minute
_LEFT_OUT = (
    ("POST", r"/containers/\{id\}/(attach|wait|start|restart|stop)"),  # wait for what a random container never does
    ("GET", r"/containers/\{id\}/(attach/ws|logs|stats)"),
    ("POST", r"/images/(create|\{name\}/push)|/auth|/build"),  # go out to registries and URLs
    ("GET", r"/images/search|/distribution/.*|/events"),
    ("POST", r"/exec/\{id\}/start|/session"),
)


def _kept(method: str, path: str) -> bool:
    reasons = [pattern for pattern, _ in UNBUILT if re.match(_pattern(pattern), path)]
    return not reasons and not any(method == left and re.fullmatch(pattern, path) for left, pattern in _LEFT_OUT)


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", r"\\{\\w+\\}", re.escape(path)) + r"(/|$)"


def test_every_endpoint_of_the_specification_is_there_or_says_that_it_is_not() -> None:
    shapes = {(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in discover()}
    missing = [
        f"{method.upper()} {path}"
        for path, methods in _SPECIFICATION["paths"].items()
        for method in methods
        if (method.upper(), re.sub(r"\{\w+\}", "{}", path)) not in shapes
        and not any(re.match(_pattern(pattern), path) for pattern, _ in UNBUILT)
    ]
    assert missing == []


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedEngine]:
    """Start an engine that is also reached on the test's loopback, with something of each kind in it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with EmbeddedEngine(options=(f"--host=tcp://127.0.0.1:{port}",)) as engine:
        engine.bring_out(port)
        made = [
            engine.api("POST", "/volumes/create", {"Name": "known"}),
            engine.api("POST", "/networks/create", {"Name": "known"}),
            engine.api("POST", "/containers/create?name=known", {"Image": "busybox", "Cmd": ["sleep", "9000"]}),
            engine.api("POST", "/containers/known/start"),
        ]
        assert all(status in {201, 204} for status, _ in made), made
        engine.name = f"http://127.0.0.1:{port}"
        yield engine


@schemathesis.serializer("application/x-tar")
def _archive(context: object, value: Any) -> bytes:
    """Send what was made up in place of an archive as it is."""
    del context
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(_with_nulls(_SPECIFICATION)).include(
    lambda context: _kept(context.operation.method.upper(), context.operation.path)
)


@schema.parametrize()
@settings(
    max_examples=_EXAMPLES,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_what_the_specification_says(case: Any, engine: EmbeddedEngine) -> None:
    if case.method == "GET" or case.operation.path.endswith(("/tag", "/rename", "/update", "/resize")):
        for name in case.path_parameters or ():
            case.path_parameters[name] = "busybox" if case.operation.path.startswith("/images") else "known"
    answer = case.call(base_url=engine.name, timeout=30)
    # 501 says what is not built; 500 is for what the kernel or a program of the machine refused, and says which
    assert answer.status_code in {500, 501} or answer.status_code < 500, answer.content
    assert b"the daemon failed" not in answer.content
    case.validate_response(answer, checks=[response_schema_conformance])
