"""What counts as drift, what is left out, and in which forms it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.apply.drift import DriftReport, drift_document, drift_metrics, drift_of, is_news, remember
from declarative.core.actions import RenameContainer
from declarative.drivers.port import FileChange
from declarative.errors import Invalid
from declarative.record import replace
from tests.unit.apply.world import HEAD, container, job

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.apply.world import World


def drift(world: World, text: str, *, filesystem: bool = False) -> DriftReport:
    plan, actual = world.look(text, destroy=True, looks=True)
    return drift_of(plan, world.load(text).desired, actual, world.driver if filesystem else None)


def test_an_applied_stack_has_none(world: World) -> None:
    world.apply(container("web"))

    assert not drift(world, container("web")).drifted


def test_a_pending_change_is_none(world: World) -> None:
    world.apply(container("web"))

    assert not drift(world, container("web", "sleep 9001") + container("db")).drifted


def test_a_pending_change_hides_no_drift(world: World) -> None:
    world.apply(container("web"))
    world.engine.stop("shop-web-1")
    (step,) = drift(world, container("web", "sleep 9001")).steps

    assert "stopped" in step.cause
    assert step.changes == ()


@pytest.mark.parametrize("what", ["removed", "stopped", "renamed", "disconnected", "network removed"])
def test_what_was_done_by_hand_is(world: World, what: str) -> None:
    world.apply(container("web"))
    engine = world.engine
    match what:
        case "removed":
            engine.remove("shop-web-1", volumes=False)
        case "stopped":
            engine.stop("shop-web-1")
        case "renamed":
            world.driver.execute(RenameContainer(name="shop-web-1", to="mine"), lambda _: None)
        case "disconnected":
            engine.disconnect("shop-web-1", "shop_default")
        case "network removed":
            engine.disconnect("shop-web-1", "shop_default")
            engine.remove_network("shop_default")
    report = drift(world, container("web"))

    assert report.drifted
    assert report.count >= 1


@pytest.mark.parametrize("what", ["container", "job", "network", "volume", "port"])
def test_what_others_are_in_the_way_of_is_told_with_all_the_rest(world: World, what: str) -> None:
    objects = f"---\n{HEAD}kind: Network\nmetadata: {{name: net}}\n---\n{HEAD}kind: Volume\nmetadata: {{name: vol}}\n"
    text = container("web", more="ports: ['8080:80']") + container("db") + job("mig", "true") + objects
    world.apply(text)
    engine, spec = world.engine, world.engine.box("shop-web-1").spec
    engine.stop("shop-db-1")
    other = {"container": "shop-web-1", "job": "shop-mig-1"}.get(what, "other")
    match what:
        case "network":
            engine.networks["shop_net"].owner = None
        case "volume":
            engine.volumes["shop_vol"].owner = None
        case _:
            engine.remove("shop-mig-1" if what == "job" else "shop-web-1", volumes=True)
            theirs = replace(spec, networks={}, ports=spec.ports if what == "port" else ())
            engine.start(engine.create(other, theirs, {}, None, None).name)
    engine.box(other if what in ("container", "job", "port") else "shop-web-1").changes = (
        FileChange(path="/theirs", kind="added"),
    )
    report = drift(world, text, filesystem=what == "container")

    told = [finding.cause for finding in report.findings]
    assert len(told) == 1
    assert ("shop_" if what in ("network", "volume") else other) in told[0]
    assert "Container/shop-db-1" in [step.label for step in report.steps]
    assert report.files == ()


def test_what_others_have_that_was_never_ours_is_none(world: World) -> None:
    world.apply(container("web"))
    spec = world.engine.box("shop-web-1").spec
    world.engine.create("shop-db-1", replace(spec, networks={}), {}, None, None)

    assert not drift(world, container("web") + container("db")).drifted


def test_files_that_nobody_declared_are_drift(world: World) -> None:
    text = container(
        "web", more="files: [{target: /etc/app.conf, content: x}];volumes: [/data];drift: {ignore: [/var/cache]}"
    )
    world.apply(text)
    world.engine.containers["shop-web-1"].changes = (
        FileChange(path="/etc", kind="changed"),
        FileChange(path="/etc/app.conf", kind="added"),
        FileChange(path="/etc/passwd", kind="changed"),
        FileChange(path="/data", kind="added"),
        FileChange(path="/data/rows", kind="added"),
        FileChange(path="/var", kind="changed"),
        FileChange(path="/var/cache", kind="changed"),
        FileChange(path="/var/cache/x", kind="added"),
        FileChange(path="/var/cached", kind="added"),
        FileChange(path="/bin/ls", kind="deleted"),
    )

    assert not drift(world, text).drifted
    report = drift(world, text, filesystem=True)
    assert [(change.path, change.kind) for _, change in report.files] == [
        ("/etc/passwd", "changed"),
        ("/var/cached", "added"),
        ("/bin/ls", "deleted"),
    ]


def test_a_repeat_is_no_news_until_it_ends_or_changes(world: World, tmp_path: Path) -> None:
    text = container("web") + container("db")
    world.apply(text)
    memory = tmp_path / "memory"

    def told() -> bool:
        report = drift(world, text)
        news = is_news(report, memory)
        remember(report, memory)
        return news

    assert not told()
    world.engine.stop("shop-web-1")
    assert told()
    assert not told()
    world.engine.stop("shop-db-1")
    assert is_news(drift(world, text), memory)
    assert told()
    world.apply(text)
    assert not told()


def test_a_memory_that_cannot_be_read_is_an_error(world: World, tmp_path: Path) -> None:
    world.apply(container("web"))
    world.engine.stop("shop-web-1")
    with pytest.raises(Invalid, match="cannot be read: is a directory"):
        is_news(drift(world, container("web")), tmp_path)


def test_metrics_are_prometheus_text(world: World) -> None:
    world.apply(container("web"))
    world.engine.stop("shop-web-1")
    text = drift_metrics(drift(world, container("web")), now=1_700_000_000.4)

    assert 'declarative_drift{stack="shop"} 1\n' in text
    assert 'declarative_drift_resources{stack="shop",kind="Container"} 1\n' in text
    assert 'declarative_drift_checked_timestamp_seconds{stack="shop"} 1700000000\n' in text
    assert all(line.startswith(("# HELP", "# TYPE", "declarative_")) for line in text.splitlines())


def test_json_carries_all_of_it(world: World) -> None:
    world.apply(container("web"))
    world.engine.stop("shop-web-1")
    document = drift_document(drift(world, container("web")))

    assert document["drifted"] is True
    assert document["steps"][0]["name"] == "shop-web-1"
    assert len(document["digest"]) == 64
