"""`docker events`: what is told, in which order, to whom."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon


def told(events: list[Any]) -> list[str]:
    return [f"{event['Type']} {event['Action']}" for event in events]


def test_the_life_of_a_container(daemon: Daemon) -> None:
    begun = time.time()
    daemon.docker("network", "create", "back")
    made = daemon.up("web", "--network", "back", "-v", "data:/v", "-l", "tier=x")
    daemon.docker("exec", "web", "true")
    daemon.docker("pause", "web")
    daemon.docker("unpause", "web")
    daemon.docker("rename", "web", "new")
    daemon.docker("stop", "new")
    daemon.docker("rm", "new")
    daemon.docker("volume", "rm", "data")
    daemon.docker("network", "rm", "back")
    events = daemon.events(since=begun)
    own = [line for line in told(events) if line.startswith("container ") and "exec" not in line]
    words = ["create", "start", "pause", "unpause", "rename", "kill", "die", "stop", "destroy"]
    assert sorted(own) == sorted(f"container {word}" for word in words)
    assert (own[:6], own[-1]) == ([f"container {word}" for word in words[:6]], "container destroy")
    assert [line for line in told(events) if line.startswith("network ")] == [
        f"network {word}" for word in ("create", "connect", "disconnect", "destroy")
    ]
    assert [line for line in told(events) if line.startswith("volume ")] == [
        f"volume {word}" for word in ("create", "mount", "unmount", "destroy")
    ]
    assert [line.split(":")[0] for line in told(events) if "exec" in line] == [
        "container exec_create",
        "container exec_start",
        "container exec_die",
    ]
    (create,) = (event for event in events if event["Type"] == "container" and event["Action"] == "create")
    assert create["Actor"]["ID"] == made
    attributes = create["Actor"]["Attributes"]
    assert (attributes["image"], attributes["name"], attributes["tier"]) == (IMAGE, "web", "x")
    assert (create["status"], create["id"], create["from"], create["scope"]) == ("create", made, IMAGE, "local")
    assert abs(create["timeNano"] / 1e9 - create["time"]) < 1
    (die,) = (event for event in events if event["Action"] == "die")
    assert die["Actor"]["Attributes"]["exitCode"] == "137"
    (rename,) = (event for event in events if event["Action"] == "rename")
    assert (rename["Actor"]["Attributes"]["name"], rename["Actor"]["Attributes"]["oldName"]) == ("new", "/web")


def test_images(daemon: Daemon, tmp_path: object) -> None:
    begun = time.time()
    daemon.docker("tag", IMAGE, "app:1")
    daemon.docker("save", "-o", f"{tmp_path}/app.tar", "app:1")
    daemon.docker("rmi", "app:1")
    daemon.docker("load", "-i", f"{tmp_path}/app.tar")
    assert told(daemon.events("type=image", since=begun)) == ["image tag", "image save", "image untag", "image load"]


def test_events_of_images_have_the_images_labels(daemon: Daemon) -> None:
    daemon.docker("build", "-q", "-t", "app:1", "-", stdin=f"FROM {IMAGE}\nLABEL tier=x\n")
    begun = time.time()
    daemon.docker("tag", "app:1", "app:2")
    daemon.docker("rmi", "app:2")
    events = daemon.events("type=image", "label=tier=x", since=begun)
    assert told(events) == ["image tag", "image untag"]
    tag, untag = (event["Actor"] for event in events)
    assert tag["Attributes"]["name"] == "app:2"
    assert untag["Attributes"]["name"] == untag["ID"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (("container=web", "event=start"), ["container start"]),
        (("type=container", "event=create", "event=die"), ["container create", "container die"]),
        (("image=busybox", "event=start"), ["container start"]),
        (("label=tier=x", "event=create"), ["container create"]),
        (("volume=data", "event=create"), ["volume create"]),
        (("type=network", "event=connect"), ["network connect"]),
    ],
)
def test_filters(daemon: Daemon, filters: tuple[str, ...], wanted: list[str]) -> None:
    begun = time.time()
    daemon.docker("run", "--name", "web", "-l", "tier=x", "-v", "data:/v", IMAGE, "true")
    daemon.docker("run", "--name", "other", "-l", "tier=y", "-v", "elsewhere:/v", IMAGE, "true") if filters[
        0
    ] != "type=network" and "die" not in filters[-1] else None
    if filters[0] == "image=busybox":
        wanted = wanted * 2
    engines.wait_until(lambda: len(told(daemon.events(*filters, since=begun))) >= len(wanted), "the events", 10)
    assert told(daemon.events(*filters, since=begun)) == wanted


def test_they_are_told_as_they_happen(daemon: Daemon) -> None:
    watching = daemon.start("events", "--format", "{{.Action}}", "--filter", "type=container")
    assert watching.stdout is not None
    time.sleep(0.3)
    daemon.docker("run", "--name", "web", IMAGE, "true")
    seen = [watching.stdout.readline().decode().strip() for _ in range(4)]
    watching.kill()
    watching.communicate()
    assert seen[0] == "create"
    assert set(seen[1:]) <= {"attach", "start", "die"}


def test_until_a_moment_in_the_future_ends_then(daemon: Daemon) -> None:
    ended = daemon.docker("events", "--since", "0s", "--until", f"{time.time() + 1:.3f}", seconds=20)
    assert ended.returncode == 0
    status, text = daemon.engine.api(
        "GET", f"/events?since={time.time() - 5:.3f}&until={time.time():.3f}&filters=%7Bnonsense"
    )
    assert status == 400
    assert json.dumps(text)
