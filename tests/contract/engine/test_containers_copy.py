"""`docker cp` both ways: running and stopped containers, volumes and binds, and links that want to lead out."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded import EmbeddedEngine


@pytest.fixture
def engine(embedded_engine: EmbeddedEngine) -> Iterator[EmbeddedEngine]:
    yield embedded_engine
    embedded_engine.clear()


@pytest.fixture(params=["running", "stopped"])
def box(engine: EmbeddedEngine, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/b").write_text("bound\n")
    script = "mkdir -p /dir/sub /links; echo one > /dir/one; echo two > /dir/sub/two; chown 7:8 /dir/one; chmod 640 /dir/one;"
    script += "ln -s ../dir/one /links/near; ln -s /dir /links/far; ln -s ../../../../../../etc /links/up;"
    script += "echo v > /vol/v; sleep 1000"
    options = ["-d", "--name", "box", "-v", "vol:/vol", "-v", f"{tmp_path}/bound:/bound:ro"]
    engine.docker("run", *options, "busybox", "sh", "-c", script)
    engine.docker("exec", "box", "sh", "-c", "until test -e /vol/v; do sleep 0.05; done")
    if request.param == "stopped":
        engine.docker("stop", "-t", "0", "box")
    return "box"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def archive_of(engine: EmbeddedEngine, path: str) -> dict[str, tarfile.TarInfo]:
    environment = {"PATH": engine.flavour.path, "HOME": str(engine.folder), "DOCKER_HOST": engine.url}
    ended = subprocess.run([engine.flavour.docker, "cp", path, "-"], capture_output=True, check=True, env=environment)
    with tarfile.open(fileobj=io.BytesIO(ended.stdout)) as tar:
        return {member.name: member for member in tar}


def test_out(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    engine.docker("cp", f"{box}:/dir/one", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "one\n"
    engine.docker("cp", f"{box}:/dir", str(tmp_path / "whole"))
    assert (tmp_path / "whole/sub/two").read_text() == "two\n"
    (tmp_path / "here").mkdir()
    engine.docker("cp", f"{box}:/dir/.", str(tmp_path / "here"))
    assert names(tmp_path / "here") == ["one", "sub"]
    member = archive_of(engine, f"{box}:/dir")["dir/one"]
    assert (member.uid, member.gid, member.mode) == (7, 8, 0o640)
    engine.docker("cp", f"{box}:/vol/v", str(tmp_path / "v"))
    assert (tmp_path / "v").read_text() == "v\n"
    engine.docker("cp", f"{box}:/bound/b", str(tmp_path / "b"))
    assert (tmp_path / "b").read_text() == "bound\n"


def test_links_out(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    member = archive_of(engine, f"{box}:/links/near")["near"]
    assert (member.type, member.linkname) == (tarfile.SYMTYPE, "../dir/one")
    engine.docker("cp", "-L", f"{box}:/links/near", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "one\n"
    engine.docker("cp", f"{box}:/links/far/sub", str(tmp_path / "sub"))
    assert (tmp_path / "sub/two").read_text() == "two\n"
    engine.docker("cp", f"{box}:/links/up/passwd", str(tmp_path / "passwd"))
    assert (tmp_path / "passwd").read_text().startswith("root:x:0:0:root:/root:/bin/sh\nnobody")  # the container's own


def test_the_whole_root(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    listed = archive_of(engine, f"{box}:/")
    assert {"/", "/dir/one", "/bin/busybox", "/vol/v", "/bound/b", "/proc"} <= {
        name.rstrip("/") or "/" for name in listed
    }
    assert not [name for name in listed if name.startswith("/proc/")]
    engine.docker("cp", f"{box}:/dir", str(tmp_path / "copied"))
    assert names(tmp_path / "copied") == ["one", "sub"]


def test_in(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("in\n")
    engine.docker("cp", str(tmp_path / "tree"), f"{box}:/new")
    engine.docker("cp", str(tmp_path / "tree/sub/file"), f"{box}:/vol/in")
    engine.docker("cp", str(tmp_path / "tree/sub/file"), f"{box}:/dir/one")
    engine.docker("start", box)
    assert engine.docker("exec", box, "cat", "/new/sub/file", "/vol/in").stdout == "in\nin\n"
    missing = engine.docker("cp", str(tmp_path / "tree/sub/file"), f"{box}:/nowhere/deep/", check=False)
    assert missing.returncode != 0
    assert "Could not find the file" in missing.stderr or "no such directory" in missing.stderr


def test_kinds_are_not_confused(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    ended = engine.docker("cp", str(tmp_path / "one"), f"{box}:/dir", check=False)
    assert "cannot overwrite" in ended.stderr
    missing = engine.docker("cp", f"{box}:/nothing", str(tmp_path), check=False)
    assert missing.returncode != 0
    assert "/nothing" in missing.stderr


def test_links_in_stay_inside(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    (tmp_path / "planted").write_text("planted\n")
    engine.docker("cp", str(tmp_path / "planted"), f"{box}:/links/up/planted")
    assert not Path("/etc/planted").exists()
    engine.docker("start", box)
    assert engine.docker("exec", box, "cat", "/etc/planted").stdout == "planted\n"


def test_read_only_stays_so(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    assert engine.docker("cp", str(tmp_path / "x"), f"{box}:/bound/x", check=False).returncode != 0
    assert names(tmp_path / "bound") == ["b"]


def test_an_archive_with_links_out_of_it(engine: EmbeddedEngine, box: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "/../../../../../../../../var/tmp"
        tar.addfile(link)
        planted = tarfile.TarInfo("out/declarative-planted")
        tar.addfile(planted, io.BytesIO())
        up = tarfile.TarInfo("../../declarative-planted")
        tar.addfile(up, io.BytesIO())
    engine.api("PUT", f"/containers/{box}/archive?path=/dir", buffer.getvalue())
    assert not Path("/var/tmp/declarative-planted").exists()  # noqa: S108
    assert not [path for path in engine.folder.rglob("declarative-planted") if "containers" not in path.parts]


def test_a_container_that_swaps_folders_for_links(engine: EmbeddedEngine, tmp_path: Path) -> None:
    """CVE-2018-15664: the place is checked, and is another when it is used."""
    host = tmp_path / "host"
    host.mkdir()
    swap = "mv /swap /a; mv /link /swap; mv /swap /link; mv /a /swap"
    script = f"ln -s {host} /link; mkdir /swap; while :; do {swap}; done"
    engine.docker("run", "-d", "--name", "swapper", "busybox", "sh", "-c", script)
    (tmp_path / "file").write_text("x")
    for _ in range(40):
        engine.docker("cp", str(tmp_path / "file"), "swapper:/swap/file", check=False)
    assert names(host) == []


def test_the_kernels_own_files_are_not_written(engine: EmbeddedEngine, box: str, tmp_path: Path) -> None:
    (tmp_path / "core_pattern").write_text("|/evil")
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    assert engine.docker("cp", str(tmp_path / "core_pattern"), f"{box}:/proc/sys/kernel/", check=False).returncode != 0
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
