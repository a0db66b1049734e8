"""`doctor` and `engine status` on real engines: a healthy one, one with something left behind, one that hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.manifest import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli import Cli
    from tests.engines import Engine


def test_a_healthy_engine(declarative_cli: Cli, docker_engine: Engine) -> None:
    document = declarative_cli("doctor", "-o", "json").expect(0).json()
    schema.validate("doctor", document, "doctor")
    states = {check["name"]: check["state"] for check in document["checks"]}
    for name in ("engine", "version", "builder", "clock", "leftovers"):
        assert states[name] == "ok", document
    assert "disk" in states
    status = declarative_cli("engine", "status", "-o", "json").expect(0).json()
    schema.validate("engine", status, "engine")
    assert (status["address"], status["origin"]) == (docker_engine.url, "DOCKER_HOST")
    assert (status["api_version"], status["builder"]) == ("1.41", "buildkit")
    assert "20.10" in declarative_cli("engine").expect(0).out


def test_what_a_killed_apply_left_is_named_with_the_way_out(declarative_cli: Cli, docker_engine: Engine) -> None:
    labels = {"declarative.stack": "gone", "declarative.kind": "Lock"}
    docker_engine.api("POST", "/volumes/create", {"Name": "declarative-lock-gone", "Labels": labels})
    making = {"declarative.stack": "half", "declarative.kind": "Container", "declarative.name": "web"}
    body = {"Image": "busybox:latest", "Labels": making}
    docker_engine.api("POST", "/containers/create?name=half-web-1.making", body)
    out = declarative_cli("doctor").expect(0).out
    assert "docker rm -f half-web-1.making" in out
    assert "stack gone is held by" in out  # another machine's, for all that can be seen


def test_an_engine_that_hangs_is_reported_in_time(cli_for: Callable[[Engine], Cli], spare_engine: Engine) -> None:
    spare_engine.pause()
    try:
        ended = cli_for(spare_engine)("doctor", seconds=20).expect(1)
    finally:
        spare_engine.resume()
    assert "fail engine" in ended.out
