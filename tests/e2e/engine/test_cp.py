"""`docker cp` both ways, and `docker export` with `docker import`."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import FOREVER, IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon


@pytest.fixture(params=["running", "created"])
def box(request: pytest.FixtureRequest, daemon: Daemon) -> str:
    daemon.docker("create", "--name", "box", IMAGE, *FOREVER)
    if request.param == "running":
        daemon.docker("start", "box")
    return "box"


def test_files_go_in_and_come_out(daemon: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "file").chmod(0o640)
    os.chown(tmp_path / "file", 12, 34)
    daemon.docker("cp", str(tmp_path / "file"), f"{box}:/etc/new")
    daemon.docker("cp", str(tmp_path / "file"), f"{box}:/tmp")
    daemon.docker("cp", f"{box}:/etc/new", str(tmp_path / "back"))
    daemon.docker("cp", f"{box}:/tmp/file", str(tmp_path))
    assert (tmp_path / "back").read_text() == "content"
    assert (tmp_path / "back").stat().st_mode & 0o7777 == 0o640
    daemon.docker("start", box)
    assert daemon.sh(box, "stat -c '%a %u %g' /etc/new /tmp/file") == "640 12 34\n640 12 34"
    os.chown(tmp_path / "file", 12, 34)
    daemon.docker("cp", "-a", str(tmp_path / "file"), f"{box}:/owned")
    assert daemon.sh(box, "stat -c '%u %g' /owned") == "12 34"
    daemon.docker("run", "-d", "--name", "user", "-u", "root", IMAGE, *FOREVER)
    daemon.docker("cp", "-a", str(tmp_path / "file"), "user:/tmp/owned")
    assert daemon.sh("user", "stat -c '%u %g' /tmp/owned") == "0 0"


def test_folders_go_in_and_come_out_by_the_rules_of_cp(daemon: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/sub/file").write_text("deep")
    (tmp_path / "dir/link").symlink_to("sub/file")
    daemon.docker("cp", str(tmp_path / "dir"), f"{box}:/new")  # not there: becomes it
    daemon.docker("cp", str(tmp_path / "dir"), f"{box}:/tmp")  # there: goes into it
    daemon.docker("cp", f"{tmp_path}/dir/.", f"{box}:/var")  # the content alone
    daemon.docker("start", box)
    assert daemon.sh(box, "cat /new/sub/file /tmp/dir/link /var/sub/file; readlink /var/link") == "deepdeepdeepsub/file"
    daemon.docker("cp", f"{box}:/new", str(tmp_path / "out"))
    assert (tmp_path / "out/sub/file").read_text() == "deep"
    assert os.readlink(tmp_path / "out/link") == "sub/file"  # noqa: PTH115 - the text of the link is the point
    daemon.docker("cp", f"{box}:/new/.", str(tmp_path / "out2"))
    assert (tmp_path / "out2/sub/file").read_text() == "deep"


def test_what_cannot_be_copied(daemon: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    said = daemon.fails("cp", f"{box}:/nosuch", str(tmp_path))
    assert "Could not find the file /nosuch in container box" in said
    assert "no such directory" in daemon.fails("cp", str(tmp_path / "file"), f"{box}:/nosuch/")
    assert daemon.fails("cp", str(tmp_path / "file"), f"{box}:/nosuch/file")
    assert daemon.fails("cp", str(tmp_path / "dir"), f"{box}:/etc/passwd")
    assert "No such container: ghost" in daemon.fails("cp", "ghost:/x", str(tmp_path))


def test_links_are_followed_where_asked_and_never_out_of_the_container(
    daemon: Daemon, box: str, tmp_path: Path
) -> None:
    script = f"ln -s /etc/passwd /to; ln -s ../../../../../..{tmp_path} /out; mkdir /real; ln -s real /dir"
    daemon.docker("start", box)
    daemon.sh(box, script)
    (tmp_path / "secret").write_text("of the machine")
    (tmp_path / "file").write_text("in")
    daemon.docker("cp", f"{box}:/to", str(tmp_path / "plain"))
    assert (tmp_path / "plain").is_symlink()
    daemon.docker("cp", "-L", f"{box}:/to", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text().startswith("root:")
    assert "Could not find" in daemon.fails("cp", f"{box}:/out/secret", str(tmp_path / "stolen"))
    daemon.docker("cp", str(tmp_path / "file"), f"{box}:/dir/")
    assert daemon.sh(box, "cat /real/file") == "in"
    daemon.docker("cp", str(tmp_path / "file"), f"{box}:/out/planted", check=False)
    assert not (tmp_path / "planted").exists()


def test_archives_through_pipes(daemon: Daemon, box: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("piped/file")
        member.size, member.uid, member.mode = 5, 77, 0o600
        archive.addfile(member, io.BytesIO(b"hello"))
    subprocess.run(
        daemon.argv("cp", "-", f"{box}:/tmp"),
        input=buffer.getvalue(),
        check=True,
        capture_output=True,
        env=daemon.environment(),
    )
    out = subprocess.run(
        daemon.argv("cp", f"{box}:/tmp/piped", "-"), check=True, capture_output=True, env=daemon.environment()
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as archive:
        found = {member.name: (member.uid, member.mode & 0o777, member.size) for member in archive}
    assert found["piped/file"] == (77, 0o600, 5)
    assert set(found) == {"piped", "piped/file"}


def test_volumes_are_copied_to_and_from(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("into the volume")
    (tmp_path / "bound").mkdir()
    daemon.docker(
        "create",
        "--name",
        "box",
        "-v",
        "data:/data",
        "-v",
        f"{tmp_path}/bound:/bound",
        "-v",
        "data:/ro:ro",
        IMAGE,
        *FOREVER,
    )
    daemon.docker("cp", str(tmp_path / "file"), "box:/data/file")
    assert daemon.run("-v", "data:/v", IMAGE, "cat", "/v/file") == "into the volume"
    daemon.docker("cp", str(tmp_path / "file"), "box:/bound/file")
    assert (tmp_path / "bound/file").read_text() == "into the volume"
    assert "read-only" in daemon.fails("cp", str(tmp_path / "file"), "box:/ro/x")
    daemon.docker("cp", "box:/data/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "into the volume"


def test_the_archive_s_stat_is_in_a_header(daemon: Daemon, tmp_path: Path) -> None:
    import base64
    import http.client
    import json

    from tests import sockets

    daemon.docker("create", "--name", "box", IMAGE)
    connection = http.client.HTTPConnection("localhost")
    connection.sock = sockets.connect_unix(str(daemon.engine.socket_path))
    connection.request("HEAD", "/containers/box/archive?path=/etc/passwd")
    answer = connection.getresponse()
    stat = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
    connection.close()
    assert (stat["name"], stat["size"], stat["mode"], stat["linkTarget"]) == ("passwd", 71, 0o644, "")
    assert tmp_path.exists()


def test_a_folder_does_not_take_a_file_s_place(daemon: Daemon, box: str, tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").mkdir(parents=True)
    assert daemon.fails("cp", f"{tmp_path}/etc/.", f"{box}:/etc")


def test_export_has_what_the_container_sees_and_import_makes_an_image_of_it(daemon: Daemon, tmp_path: Path) -> None:
    daemon.up("web", "-v", "data:/data", "-e", "A=b")
    daemon.sh("web", "echo new > /new; rm /etc/group; echo v > /data/v; chown 7:8 /new")
    daemon.docker("export", "-o", str(tmp_path / "root.tar"), "web")
    with tarfile.open(tmp_path / "root.tar") as archive:
        names = set(archive.getnames())
        assert archive.getmember("new").uid == 7
    assert {"new", "bin/busybox", "etc/passwd", "data", ".dockerenv"} <= names
    assert not {"etc/group", "data/v"} & names
    made = daemon.out(
        "import", "-m", "taken over", "-c", 'CMD ["cat", "/new"]', "-c", "ENV X=y", str(tmp_path / "root.tar"), "flat:1"
    )
    assert made.startswith("sha256:")
    assert daemon.run("flat:1") == "new"
    found = daemon.inspect("flat:1", kind="image")
    assert (len(found["RootFS"]["Layers"]), found["Comment"], found["Config"]["Env"]) == (1, "taken over", ["X=y"])
    assert "taken over" in daemon.lines("history", "--format", "{{.Comment}}", "flat:1")[0]


@pytest.mark.parametrize("program", [None, "gzip", "xz", "bzip2", "zstd"])
def test_import_reads_what_is_compressed(daemon: Daemon, tmp_path: Path, program: str | None) -> None:
    (tmp_path / "hello").write_text("hello")
    archive = subprocess.run(["tar", "-c", "-C", str(tmp_path), "hello"], check=True, capture_output=True).stdout
    if program is not None:
        archive = subprocess.run([program, "-c"], input=archive, check=True, capture_output=True).stdout
    subprocess.run(
        daemon.argv("import", "-", "made:1"), input=archive, check=True, capture_output=True, env=daemon.environment()
    )
    daemon.docker("create", "--name", "box", "made:1", "x")
    daemon.docker("cp", "box:/hello", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "hello"
