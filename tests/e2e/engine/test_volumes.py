"""`docker volume`: made, listed, inspected, removed, pruned, and never while in use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import HEX64, IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


def test_create_inspect_and_remove(daemon: Daemon) -> None:
    assert daemon.out("volume", "create", "--label", "a=b", "data") == "data"
    assert daemon.out("volume", "create", "data") == "data"  # the same again is the same
    found = daemon.inspect("data", kind="volume")
    assert (found["Name"], found["Driver"], found["Scope"], found["Labels"]) == ("data", "local", "local", {"a": "b"})
    assert found["Mountpoint"].endswith("data/_data") or found["Mountpoint"]
    assert set(found) >= {"CreatedAt", "Options"}
    assert HEX64.fullmatch(daemon.out("volume", "create"))
    assert daemon.lines("volume", "rm", "data") == ["data"]
    assert "no such volume" in daemon.fails("volume", "rm", "data").lower()
    daemon.docker("volume", "rm", "-f", "data")
    assert "no such volume" in daemon.fails("volume", "inspect", "data").lower()


@pytest.mark.parametrize("options", [("a/b",), ("-o", "nosuch=1", "x"), ("-o", "type=tmpfs", "x")])
def test_volumes_that_cannot_be(daemon: Daemon, options: tuple[str, ...]) -> None:
    assert daemon.fails("volume", "create", *options)
    assert daemon.lines("volume", "ls", "-q") == []


def test_ls_and_filters(daemon: Daemon) -> None:
    daemon.docker("volume", "create", "--label", "a=b", "labelled")
    daemon.docker("volume", "create", "plain")
    daemon.docker("create", "--name", "web", "-v", "used:/v", IMAGE)
    assert daemon.lines("volume", "ls", "-q") == ["labelled", "plain", "used"]
    assert daemon.lines("volume", "ls", "-q", "--filter", "label=a") == ["labelled"]
    assert daemon.lines("volume", "ls", "-q", "--filter", "name=la") == ["labelled", "plain"]
    assert daemon.lines("volume", "ls", "-q", "--filter", "dangling=true") == ["labelled", "plain"]
    assert daemon.lines("volume", "ls", "-q", "--filter", "dangling=false") == ["used"]
    assert daemon.lines("volume", "ls", "-q", "--filter", "driver=other") == []
    assert "invalid filter" in daemon.fails("volume", "ls", "--filter", "nosuch=1")


def test_never_removed_while_in_use(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", "-v", "data:/v", IMAGE)
    made = daemon.field("web", "{{.Id}}")
    said = daemon.fails("volume", "rm", "data")
    assert f"remove data: volume is in use - [{made}]" in said
    assert "volume is in use" in daemon.fails("volume", "rm", "-f", "data")
    daemon.docker("volume", "prune", "-a", "-f")
    assert daemon.lines("volume", "ls", "-q") == ["data"]


def test_prune_takes_anonymous_ones_and_all_if_asked(daemon: Daemon) -> None:
    daemon.docker("run", "--name", "web", "-v", "/anon", "-v", "named:/n", IMAGE, "sh", "-c", "echo 12345 > /anon/x")
    daemon.docker("rm", "web")
    daemon.docker("volume", "create", "--label", "keep", "kept")
    said = daemon.out("volume", "prune", "-f")
    assert "Total reclaimed space: 6B" in said
    assert daemon.lines("volume", "ls", "-q") == ["kept", "named"]
    daemon.docker("volume", "prune", "-a", "-f", "--filter", "label!=keep")
    assert daemon.lines("volume", "ls", "-q") == ["kept"]


def test_prune_leaves_what_says_of_another_place(daemon: Daemon, tmp_path: Path) -> None:
    options = ("-o", "type=none", "-o", f"device={tmp_path}", "-o", "o=bind")
    daemon.docker("volume", "create", *options, "elsewhere")
    daemon.docker("volume", "create", "here")
    daemon.docker("volume", "prune", "-a", "-f")
    assert daemon.lines("volume", "ls", "-q") == ["elsewhere"]


def test_options_of_the_local_driver(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the machine")
    daemon.docker("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}", "bound")
    daemon.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=1000", "small")
    assert daemon.run("-v", "bound:/v", IMAGE, "cat", "/v/file") == "of the machine"
    seen = daemon.run("-v", "small:/v", IMAGE, "sh", "-c", "grep ' /v ' /proc/mounts; stat -c %u /v")
    assert "size=1024k" in seen
    assert seen.endswith("1000")
    assert json.loads(daemon.out("volume", "inspect", "-f", "{{json .Options}}", "small"))["type"] == "tmpfs"


def test_data_outlives_its_containers(daemon: Daemon) -> None:
    daemon.run("-v", "data:/v", IMAGE, "sh", "-c", "echo kept > /v/file; chown 5:6 /v/file")
    assert daemon.run("-v", "data:/w", IMAGE, "sh", "-c", "cat /w/file; stat -c %u:%g /w/file") == "kept\n5:6"


def test_a_path_within_a_volume(daemon: Daemon) -> None:
    if not daemon.ours:
        version = daemon.out("version", "--format", "{{.Server.APIVersion}}")
        assert version == "1.45"
    daemon.run("-v", "data:/v", IMAGE, "sh", "-c", "mkdir -p /v/sub && echo deep > /v/sub/file; ln -s /etc /v/out")
    body = {"Image": IMAGE, "Cmd": ["cat", "/m/file"], "HostConfig": {"Mounts": [
        {"Type": "volume", "Source": "data", "Target": "/m", "VolumeOptions": {"Subpath": "sub"}}]}}  # fmt: skip
    status, _ = daemon.engine.api("POST", "/v1.45/containers/create?name=web", body)
    assert status == 201
    assert daemon.docker("start", "-a", "web").stdout == "deep\n"
    for sub in ("../../..", "out"):
        body["HostConfig"]["Mounts"][0]["VolumeOptions"]["Subpath"] = sub  # type: ignore[index]
        status, _ = daemon.engine.api("POST", f"/v1.45/containers/create?name=bad{len(sub)}", body)
        assert status != 201 or daemon.docker("start", "-a", f"bad{len(sub)}", check=False).returncode != 0
