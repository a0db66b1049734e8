"""`docker run -v`, `--mount`, `--tmpfs`: what is mounted, from where, how, and who owns what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import FOREVER, HEX64, IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon

_RICH = f"""\
FROM {IMAGE}
RUN mkdir -p /data/deep && echo image > /data/deep/file && ln -s deep/file /data/link
RUN chown -R 65534:65534 /data && chmod 0750 /data
VOLUME /data
"""


@pytest.fixture
def rich(daemon: Daemon) -> str:
    daemon.docker("build", "-t", "rich", "-", stdin=_RICH)
    return "rich"


def test_a_folder_of_the_machine(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from outside")
    script = "cat /mnt/in; echo inside > /mnt/out"
    assert daemon.run("-v", f"{tmp_path}:/mnt", IMAGE, "sh", "-c", script) == "from outside"
    assert (tmp_path / "out").read_text() == "inside\n"
    assert "Read-only" in daemon.fails("run", "--rm", "-v", f"{tmp_path}:/mnt:ro", IMAGE, "touch", "/mnt/x")
    made = ("--mount", f"type=bind,src={tmp_path},dst=/mnt,readonly")
    assert "Read-only" in daemon.fails("run", "--rm", *made, IMAGE, "touch", "/mnt/x")


def test_a_file_of_the_machine(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("one")
    daemon.up("web", "-v", f"{tmp_path}/conf:/etc/deep/er/conf")
    assert daemon.sh("web", "cat /etc/deep/er/conf") == "one"
    (tmp_path / "conf").write_text("two")
    assert daemon.sh("web", "cat /etc/deep/er/conf") == "two"


def test_a_source_that_is_not_there_is_made_for_v_and_refused_for_mount(daemon: Daemon, tmp_path: Path) -> None:
    daemon.run("-v", f"{tmp_path}/new/deep:/mnt", IMAGE, "touch", "/mnt/x")
    assert (tmp_path / "new/deep/x").exists()
    said = daemon.fails("run", "--rm", "--mount", f"type=bind,src={tmp_path}/nosuch,dst=/mnt", IMAGE, "true", code=125)
    assert "bind source path does not exist" in said
    assert not (tmp_path / "nosuch").exists()


def test_a_named_volume_is_made_lives_on_and_is_shared(daemon: Daemon) -> None:
    daemon.run("-v", "data:/v", IMAGE, "sh", "-c", "echo kept > /v/file")
    assert daemon.lines("volume", "ls", "-q") == ["data"]
    daemon.up("one", "-v", "data:/v")
    daemon.up("two", "--mount", "type=volume,source=data,target=/w,readonly")
    assert daemon.sh("two", "cat /w/file") == "kept"
    daemon.sh("one", "echo more >> /v/file")
    assert daemon.sh("two", "cat /w/file") == "kept\nmore"
    assert "Read-only" in daemon.fails("exec", "two", "touch", "/w/x")
    assert "volume is in use" in daemon.fails("volume", "rm", "data")
    daemon.docker("rm", "-f", "-v", "one", "two")
    assert daemon.lines("volume", "ls", "-q") == ["data"]
    daemon.docker("volume", "rm", "data")


def test_the_first_use_of_a_volume_copies_what_the_image_has(daemon: Daemon, rich: str) -> None:
    script = "cat /v/link; stat -c '%u %g %a' /v; test -L /v/link && echo link"
    assert daemon.run("-v", "data:/data", rich, "true") == ""
    assert daemon.run("-v", "data:/v", IMAGE, "sh", "-c", script) == "image\n65534 65534 750\nlink"
    daemon.run("-v", "data:/data", rich, "sh", "-c", "echo mine > /data/deep/file; rm /data/link")
    seen = daemon.run("-v", "data:/data", rich, "sh", "-c", "cat /data/deep/file; ls /data")
    assert seen == "mine\ndeep"  # the second use copies nothing


def test_nocopy_and_a_folder_of_the_machine_copy_nothing(daemon: Daemon, rich: str, tmp_path: Path) -> None:
    assert daemon.run("-v", "empty:/data:nocopy", rich, "ls", "/data") == ""
    assert daemon.run("--mount", "type=volume,src=empty2,dst=/data,volume-nocopy", rich, "ls", "/data") == ""
    assert daemon.run("-v", f"{tmp_path}:/data", rich, "ls", "/data") == ""


def test_an_anonymous_volume_goes_with_its_container_if_asked(daemon: Daemon, rich: str) -> None:
    daemon.docker("run", "-d", "--name", "web", "-v", "/extra", rich, *FOREVER)
    names = daemon.lines("volume", "ls", "-q")
    assert len(names) == 2
    assert all(HEX64.fullmatch(name) for name in names)
    assert daemon.sh("web", "cat /data/deep/file") == "image"
    found = {mount["Destination"]: mount for mount in daemon.inspect("web")["Mounts"]}
    assert sorted(found) == ["/data", "/extra"]
    assert (found["/data"]["Type"], found["/data"]["Driver"], found["/data"]["RW"]) == ("volume", "local", True)
    daemon.docker("rm", "-f", "web")
    assert len(daemon.lines("volume", "ls", "-q")) == 2
    daemon.docker("run", "--rm", rich, "true")
    assert len(daemon.lines("volume", "ls", "-q")) == 2  # --rm takes its own away
    daemon.docker("create", "--name", "web", rich)
    daemon.docker("rm", "-v", "web")
    assert len(daemon.lines("volume", "ls", "-q")) == 2


def test_volumes_from(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound")
    daemon.up("store", "-v", "data:/data", "-v", f"{tmp_path}:/host:ro", "-v", "/anon")
    daemon.sh("store", "echo x > /data/file; echo y > /anon/file")
    seen = daemon.run("--volumes-from", "store", IMAGE, "cat", "/data/file", "/host/file", "/anon/file")
    assert seen == "x\nboundy"
    assert "Read-only" in daemon.fails("run", "--rm", "--volumes-from", "store:ro", IMAGE, "touch", "/data/z")
    assert "No such container: ghost" in daemon.fails("run", "--rm", "--volumes-from", "ghost", IMAGE, "true")


def test_volumes_of_a_container_that_has_not_started_yet(daemon: Daemon, tmp_path: Path) -> None:
    later = tmp_path / "later"
    daemon.docker("create", "--name", "store", "-v", f"{later}:/host", IMAGE, "cat", "/host/f")
    daemon.run("--volumes-from", "store", IMAGE, "sh", "-c", "echo first > /host/f")
    assert (later / "f").read_text() == "first\n"
    assert daemon.out("start", "-a", "store") == "first"


def test_tmpfs(daemon: Daemon) -> None:
    script = "grep ' /scratch ' /proc/mounts; stat -c %a /scratch; touch /scratch/x && echo ok"
    seen = daemon.run("--tmpfs", "/scratch:size=1m,mode=700", IMAGE, "sh", "-c", script).splitlines()
    options = seen[0].split()[3].split(",")
    assert {"rw", "nosuid", "nodev", "noexec", "size=1024k"} <= set(options)
    assert seen[1:] == ["700", "ok"]
    made = "type=tmpfs,dst=/scratch,tmpfs-size=2097152,tmpfs-mode=1770"
    seen = daemon.run("--mount", made, IMAGE, "sh", "-c", script).splitlines()
    assert "size=2048k" in seen[0]
    assert seen[1] == "1770"
    assert daemon.lines("volume", "ls", "-q") == []


def test_mounts_within_mounts_come_in_the_order_of_their_paths(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").write_text("inner")
    options = ("-v", f"{tmp_path}/inner:/a/b", "--tmpfs", "/a/c", "-v", f"{tmp_path}/outer:/a")
    assert daemon.run(*options, IMAGE, "sh", "-c", "cat /a/b/file; touch /a/c/x; ls /a") == "inner" + "b\nc"


@pytest.mark.parametrize(
    ("option", "phrase"),
    [
        (("-v", "data:relative"), "invalid mount path: 'relative' mount path must be absolute"),
        (("-v", "/a:/"), "destination can't be '/'"),
        (("-v", "a/b:/x"), "includes invalid characters for a local volume name"),
        (("-v", "/x:/y:zap"), "invalid mode: zap"),
        (("-v", "/a:/x", "-v", "/b:/x"), "Duplicate mount point: /x"),
        (("--mount", "type=bind,src=relative,dst=/x"), "invalid mount path"),
        (("--mount", "type=volume,src=a,dst=x"), "invalid mount path"),
        (("--tmpfs", "relative"), "invalid mount path"),
        (("--volumes-from", "ghost"), "No such container: ghost"),
    ],
)
def test_mounts_that_make_no_sense_are_refused(daemon: Daemon, option: tuple[str, ...], phrase: str) -> None:
    said = daemon.fails("create", *option, IMAGE)
    assert phrase.lower() in said.lower()
    assert daemon.lines("ps", "-aq") == []


def test_inspect_tells_what_is_mounted(daemon: Daemon, tmp_path: Path) -> None:
    daemon.docker(
        "create", "--name", "web", "-v", f"{tmp_path}:/b:ro", "-v", "data:/v", "--mount", "type=tmpfs,dst=/t", IMAGE
    )
    rows = sorted(daemon.inspect("web")["Mounts"], key=lambda row: row["Destination"])
    assert [(row["Type"], row["Destination"], row["RW"]) for row in rows] == [
        ("bind", "/b", False),
        ("tmpfs", "/t", True),
        ("volume", "/v", True),
    ]
    assert rows[0]["Source"] == str(tmp_path)
    assert rows[2]["Name"] == "data"
    # the client keeps them in no order
    assert sorted(daemon.inspect("web")["HostConfig"]["Binds"]) == [f"{tmp_path}:/b:ro", "data:/v"]


def test_propagation(daemon: Daemon, tmp_path: Path) -> None:
    made = ("--mount", f"type=bind,src={tmp_path},dst=/b,bind-propagation=rslave")
    daemon.docker("create", "--name", "web", *made, IMAGE, check=False)
    seen = daemon.run("-v", f"{tmp_path}:/b", IMAGE, "sh", "-c", "grep ' /b ' /proc/self/mountinfo")
    assert "shared:" not in seen


def test_a_link_in_the_image_does_not_lead_a_mount_out(daemon: Daemon, tmp_path: Path) -> None:
    """A mount's target is followed inside the container's root, wherever the image's links point."""
    daemon.docker(
        "build", "-t", "sly", "-", stdin=f"FROM {IMAGE}\nRUN ln -s /../../../../{tmp_path} /way && ln -s /proc /p\n"
    )
    (tmp_path / "mine").mkdir()
    daemon.docker("run", "--rm", "-v", "data:/way/mine/x", "sly", "touch", "/way/mine/x/y")
    assert list((tmp_path / "mine").iterdir()) == []
