"""Copy on write as the source document says it: what a container adds, reads, changes and removes, and what the image keeps."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.engine.clients import IMAGE

if TYPE_CHECKING:
    from tests.e2e.engine.clients import Daemon

_LAYERS = f"""\
FROM {IMAGE}
RUN mkdir -p /d/sub /gone && echo low > /d/low && echo low > /d/both && echo low > /d/sub/file && echo x > /gone/x
RUN echo high > /d/both && echo high > /d/high && rm -r /gone && ln /d/low /d/linked && chmod 600 /d/low
"""


@pytest.fixture
def layered(daemon: Daemon) -> str:
    daemon.docker("build", "-t", "layered", "-", stdin=_LAYERS)
    return "layered"


def test_reading_goes_down_through_the_layers(daemon: Daemon, layered: str) -> None:
    assert daemon.run(layered, "sh", "-c", "cat /d/low /d/both /d/high /bin/busybox | head -c 14") == "low\nhigh\nhigh"
    assert daemon.run(layered, "ls", "/").count("gone") == 0
    assert daemon.run(layered, "stat", "-c", "%a %h", "/d/linked") == "600 2"


def test_what_a_container_changes_is_its_own_and_the_image_never_changes(daemon: Daemon, layered: str) -> None:
    before = daemon.out("save", layered, "-o", str(daemon.home / "before.tar"))
    daemon.up("one", image=layered)
    daemon.up("two", image=layered)
    daemon.sh(
        "one", "echo added > /added; echo more >> /d/low; rm /d/both; rm -r /d/sub; mkdir /d/sub; echo n > /d/sub/new"
    )
    assert (
        daemon.sh("one", "cat /added /d/low; ls /d /d/sub")
        == "added\nlow\nmore\n/d:\nhigh\nlinked\nlow\nsub\n\n/d/sub:\nnew"
    )
    assert daemon.sh("two", "ls / | grep -c added; cat /d/low /d/both; ls /d/sub") == "0\nlow\nhigh\nfile"
    assert daemon.run(layered, "cat", "/d/both", "/d/sub/file") == "high\nlow"
    daemon.docker("save", layered, "-o", str(daemon.home / "after.tar"))
    assert before == ""
    assert _layers(daemon, "before.tar") == _layers(daemon, "after.tar")


def _layers(daemon: Daemon, name: str) -> object:
    import tarfile

    with tarfile.open(daemon.home / name) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        return json.load(manifest)


def test_diff_tells_what_was_added_changed_and_deleted(daemon: Daemon, layered: str) -> None:
    daemon.up("web", image=layered)
    assert daemon.lines("diff", "web") == []
    daemon.sh(
        "web",
        "echo a > /added; mkdir -p /new/deep; echo b > /new/deep/file; echo more >> /d/low; "
        "rm /d/both; rm -r /d/sub; chmod 711 /root; ln -s x /link",
    )
    assert sorted(daemon.lines("diff", "web")) == sorted(
        [
            "A /added",
            "C /d",
            "C /d/low",
            "D /d/both",
            "D /d/sub",
            "A /new",
            "A /new/deep",
            "A /new/deep/file",
            "C /root",
            "A /link",
        ]
    )
    daemon.docker("stop", "web")
    assert "A /added" in daemon.lines("diff", "web")


def test_a_folder_that_is_removed_and_made_anew_hides_what_was_in_it(daemon: Daemon, layered: str) -> None:
    daemon.up("web", image=layered)
    daemon.sh("web", "rm -r /d; mkdir /d; echo only > /d/only")
    assert daemon.sh("web", "ls /d") == "only"
    assert "D /d/low" in daemon.lines("diff", "web")
    daemon.docker("commit", "web", "replaced")
    assert daemon.run("replaced", "ls", "/d") == "only"


def test_a_file_in_the_place_of_a_folder_and_the_other_way_round(daemon: Daemon, layered: str) -> None:
    daemon.docker(
        "run",
        "--name",
        "web",
        layered,
        "sh",
        "-c",
        "rm -r /d/sub; echo file > /d/sub; rm /d/high; mkdir /d/high; touch /d/high/x",
    )
    daemon.docker("commit", "web", "swapped")
    assert daemon.run("swapped", "sh", "-c", "cat /d/sub; ls /d/high") == "file\nx"


def test_renaming_a_folder_of_the_image(daemon: Daemon, layered: str) -> None:
    assert (
        daemon.run(layered, "sh", "-c", "mv /d /e && cat /e/sub/file && ls /d 2>&1 | head -1")
        == "low\nls: /d: No such file or directory"
    )


def test_the_container_layer_lives_through_stop_and_start_and_ends_with_it(daemon: Daemon) -> None:
    daemon.up("web")
    daemon.sh("web", "echo kept > /kept; rm /etc/group")
    daemon.docker("stop", "web")
    daemon.docker("start", "web")
    assert daemon.sh("web", "cat /kept; ls /etc | grep -c group || true") == "kept\n0"
    daemon.docker("rm", "-f", "web")
    daemon.up("web")
    assert daemon.sh("web", "ls / | grep -c kept; cat /etc/group | head -1") == "0\nroot:x:0:"


def test_commit_makes_an_image_of_what_changed(daemon: Daemon) -> None:
    daemon.up("web", "-e", "FROM_RUN=yes", "-l", "l=run")
    daemon.sh("web", "echo new > /new; rm /etc/group; chown 5:6 /new")
    made = daemon.out(
        "commit",
        "-m",
        "a message",
        "-a",
        "Some Body",
        "-c",
        'CMD ["cat", "/new"]',
        "-c",
        "ENV B=c",
        "-c",
        "EXPOSE 80",
        "web",
        "made:1",
    )
    assert made.startswith("sha256:")
    assert daemon.run("made:1") == "new"
    assert (
        daemon.run("made:1", "sh", "-c", "stat -c %u:%g /new; ls /etc/group 2>&1; echo $FROM_RUN $B")
        == "5:6\nls: /etc/group: No such file or directory\nyes c"
    )
    found = daemon.inspect("made:1", kind="image")
    base = daemon.inspect(IMAGE, kind="image")
    assert (found["Id"], found["Comment"], found["Author"]) == (made, "a message", "Some Body")
    assert found["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert found["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert found["Config"]["Labels"] == {"l": "run"}
    rows = daemon.lines("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}|{{.Size}}", "made:1")
    assert rows[0] == "sleep 9000|a message|4B"
    assert rows[-1].startswith("tests/base_image.py|")
    assert daemon.state("web") == "running"


def test_commit_pauses_meanwhile_unless_told_not_to(daemon: Daemon) -> None:
    daemon.up("web")
    begun = time.time()
    daemon.docker("commit", "--pause=false", "web", "made")
    assert [event["Action"] for event in daemon.events("container=web", since=begun)] == ["commit"]
    daemon.docker("commit", "web", "made")
    assert sorted(event["Action"] for event in daemon.events("container=web", since=begun)) == [
        "commit",
        "commit",
        "pause",
        "unpause",
    ]
    assert daemon.state("web") == "running"


def test_commit_of_what_is_not_there_and_to_names_that_are_none(daemon: Daemon) -> None:
    assert "No such container: ghost" in daemon.fails("commit", "ghost", "made")
    daemon.docker("create", "--name", "web", IMAGE)
    assert "invalid reference format" in daemon.fails("commit", "web", "Made:x:y")
    made = daemon.out("commit", "web")
    assert daemon.inspect(made, kind="image")["RepoTags"] == []


def test_a_chain_of_commits_keeps_every_step(daemon: Daemon) -> None:
    name = IMAGE
    for number in range(4):
        daemon.docker(
            "run",
            "--name",
            f"step{number}",
            name,
            "sh",
            "-c",
            f"echo {number} >> /steps; touch /file{number}; rm -f /file{number - 1}",
        )
        daemon.docker("commit", f"step{number}", f"chain:{number}")
        name = f"chain:{number}"
    assert daemon.run("chain:3", "sh", "-c", "cat /steps; ls / | grep file") == "0\n1\n2\n3\nfile3"
    assert daemon.run("chain:1", "sh", "-c", "cat /steps; ls / | grep file") == "0\n1\nfile1"


def test_attributes_survive_a_commit(daemon: Daemon) -> None:
    script = "touch /s /t; chmod 4755 /s; chmod 1777 /t; mknod /pipe p; ln /s /s2; touch -d '2001-02-03 04:05:06' /old"
    script += "; head -c 5000000 /dev/zero > /zeros; ln -s /nowhere /dangling; mkdir /empty; touch '/ä ö'"
    daemon.docker("run", "--name", "web", IMAGE, "sh", "-c", script)
    daemon.docker("commit", "web", "made")
    look = "stat -c '%n %F %a %h %Y %s' /s /s2 /t /pipe /old /zeros /dangling /empty '/ä ö'; stat -c %i /s /s2 | uniq | wc -l"
    daemon.docker("start", "-a", "web", check=False)
    seen = daemon.run("made", "sh", "-c", look).splitlines()
    assert seen[-1] == "1"
    assert seen[0].startswith("/s regular empty file 4755 2 ")
    assert seen[2].split()[-4] == "1777"
    assert "fifo" in seen[3]
    assert seen[4].split()[-2] == "981173106"
    assert seen[5].split()[-1] == "5000000"


def test_hundreds_of_layers_are_not_many(daemon: Daemon) -> None:
    steps = "".join(f"COPY file /f{number}\n" for number in range(60))
    (daemon.home / "ctx").mkdir()
    (daemon.home / "ctx/file").write_text("content")
    (daemon.home / "ctx/Dockerfile").write_text(f"FROM {IMAGE}\n{steps}")
    daemon.docker("build", "-q", "-t", "deep", str(daemon.home / "ctx"))
    assert daemon.run("deep", "sh", "-c", "cat /f0 /f59; ls / | grep -c f") == "contentcontent60"


def test_writing_while_running_is_seen_by_the_next_start(daemon: Daemon) -> None:
    daemon.docker("create", "--name", "web", IMAGE, "sh", "-c", "cat /given; echo from inside > /made")
    (daemon.home / "given").write_text("given\n")
    daemon.docker("cp", str(daemon.home / "given"), "web:/given")
    assert daemon.out("start", "-a", "web") == "given"
    assert daemon.lines("diff", "web") == ["A /given", "A /made"] or sorted(daemon.lines("diff", "web")) == [
        "A /given",
        "A /made",
    ]
