"""What engines' refusals mean. The messages are what dockerd 20.10 and 26.1, Podman and registries really say."""

from __future__ import annotations

import pytest

from declarative.dockerapi.faults import fault, line_fault, message_of
from declarative.errors import Conflict, DeclarativeError, Denied, Failed, Invalid, NotFound, Unavailable, Unsupported

_DRIVER = "driver failed programming external connectivity on endpoint web (0123): "


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (500, f"{_DRIVER}Bind for 0.0.0.0:8080 failed: port is already allocated", Conflict, "port 8080 is already taken"),
        (
            500,
            f"{_DRIVER}Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
            Conflict,
            "port 8080 is already in use on the engine's host",
        ),
        (
            500,
            "failed to bind port [::1]:53/udp: exposing port udp: listen udp6 [::1]:53: bind: address already in use",
            Conflict,
            "port 53 is already in use",
        ),
        (500, "Address already in use", Conflict, "choose another address"),
        (403, "Pool overlaps with other one on this address space", Conflict, "choose another subnet"),
        (500, "write /var/lib/docker/tmp/x: no space left on device", Failed, "the engine's disk is full"),
        (400, "client version 1.47 is too new. Maximum supported API version is 1.41", Unsupported, "version of its API"),
        (400, "client version 1.22 is too old. Minimum supported API version is 1.24", Unsupported, "version of its API"),
        (400, "Client sent an HTTP request to an HTTPS server.", Invalid, "DOCKER_CERT_PATH"),
        (400, "invalid reference format", Invalid, "invalid reference format"),
        (404, "No such container: web", NotFound, "No such container: web"),
        (404, "No such container: manifest", NotFound, "No such container"),
        (404, "pull access denied for x, repository does not exist or may require 'docker login'", Denied, "docker login"),
        (404, "manifest for r/x:9 not found: manifest unknown: manifest unknown", NotFound, "the registry has no such image"),
        (409, 'The container name "/unauthorized" is already in use by container "0123".', Conflict, "unauthorized"),
        (400, "invalid name: denied: no space left on device", Invalid, "invalid name"),
        (500, "The command '/bin/sh -c echo unauthorized' returned a non-zero code: 1", Failed, "non-zero code: 1"),
        (500, "OCI runtime create failed: exec: connection refused: not found: unknown", Failed, "not found"),
        (400, 'OCI runtime create failed: exec: "nix": executable file not found in $PATH', Failed, "not found"),
        (500, "OCI runtime create failed: write /x: no space left on device", Failed, "disk is full"),
        (409, 'Conflict. The container name "/web" is already in use by container "0123".', Conflict, "/web"),
        (500, "toomanyrequests: You have reached your pull rate limit.", Unavailable, "slow down"),
        (500, "Get http://r/v2/: unauthorized: authentication required", Denied, "docker login"),
        (500, "Head http://r/v2/x/manifests/1: no basic auth credentials", Denied, "docker login"),
        (500, "denied: requested access to the resource is denied", Denied, "docker login"),
        (500, "manifest for r/x:9 not found: manifest unknown: manifest unknown", NotFound, "no such image"),
        (500, "Get http://r/v2/: dial tcp 127.0.0.1:1: connect: connection refused", Unavailable, "check the network"),
        (500, "Get http://r/v2/: net/http: TLS handshake timeout", Unavailable, "check the network"),
        (500, "received unexpected HTTP status: 500 Internal Server Error", Unavailable, "check the network"),
        (500, "Get http://r/v2/: EOF", Unavailable, "check the network"),
        (500, "lookup nix on 10.0.2.3:53: no such host", Unavailable, "check the network"),
        (500, 'OCI runtime create failed: exec: "nix": executable file not found in $PATH', Failed, "executable file"),
        (503, "", Unavailable, "not ready"),
        (502, "<html>bad gateway</html>", Unavailable, "bad gateway"),
        (429, "slow", Unavailable, "slow"),
        (401, "", Denied, "refuses access"),
        (405, "", Unsupported, "cannot do this"),
        (418, "", Invalid, "refuses this"),
        (599, "", Failed, "the engine failed"),
    ],
)  # fmt: skip
def test_refusals(status: int, message: str, kind: type[DeclarativeError], words: str) -> None:
    error = fault("engine", status, message)
    assert type(error) is kind
    assert words in str(error)
    assert message in str(error)  # the engine's own words are kept


def test_a_full_disk_keeps_what_the_engine_printed() -> None:
    error = fault("engine", 500, "no space left on device")
    assert isinstance(error, Failed)
    assert error.output == "no space left on device"


def test_retry_after_is_kept() -> None:
    error = fault("engine", 429, "", retry_after=7.0)
    assert isinstance(error, Unavailable)
    assert error.retry_after == 7.0


def test_a_page_is_cut_and_put_on_one_line() -> None:
    text = str(fault("engine", 502, "<p>\n" * 5000))
    assert "\n" not in text
    assert len(text) < 2200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"message":"No such image"}\n', "No such image"),
        (b'{"cause":"no such image","message":"","response":404}', "no such image"),
        (b"page not found\n", "page not found"),
        (b'["x"]', '["x"]'),
        (b"", ""),
        (b"\xff", "�"),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_messages(body: bytes, message: str) -> None:
    assert message_of(body) == message


def test_lines_of_a_stream() -> None:
    assert line_fault("engine", {"status": "Pulling", "progressDetail": {}}) is None
    detail = {"code": 7, "message": "The command '/bin/sh -c exit 7' returned a non-zero code: 7"}
    error = line_fault("engine", {"errorDetail": detail, "error": "short"})
    assert type(error) is Failed
    assert "returned a non-zero code: 7" in str(error)
    assert type(line_fault("engine", {"error": "unauthorized: no"})) is Denied
    assert "short" in str(line_fault("engine", {"error": "short", "errorDetail": "odd"}))
