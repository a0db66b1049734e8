"""`docker images`, `tag`, `rmi`, `inspect`, `history`, `image prune`, `save`, `load`."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests import engines
from tests.e2e.engine.clients import IMAGE
from tests.embedded import EmbeddedEngine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.engine.clients import Daemon

_SHORT = "{{.Repository}}:{{.Tag}}"


def build(daemon: Daemon, *tags: str, dockerfile: str) -> str:
    """Build an image; its id."""
    args = [part for tag in tags for part in ("-t", tag)]
    return daemon.out("build", "-q", *args, "-", stdin=dockerfile)


def listed(daemon: Daemon, *args: str) -> set[str]:
    return set(daemon.lines("images", *args, "--format", _SHORT))


def test_one_image_has_many_names_and_goes_with_the_last(daemon: Daemon) -> None:
    made = build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nLABEL test=many-names\n")
    daemon.docker("tag", "app:1", "app:1.9")
    daemon.docker("tag", made, "other/app:latest")
    assert listed(daemon) == {IMAGE, "app:1", "app:1.9", "other/app:latest"}
    assert set(daemon.lines("images", "-q", "--no-trunc", "app")) == {made}
    assert daemon.lines("rmi", "app:1") == ["Untagged: app:1"]
    assert daemon.lines("rmi", "app:1.9") == ["Untagged: app:1.9"]
    said = daemon.lines("rmi", "other/app")
    assert said[0] == "Untagged: other/app:latest"
    assert said[1] == f"Deleted: {made}"
    assert "No such image: app:1" in daemon.fails("rmi", "app:1")
    assert listed(daemon) == {IMAGE}


def test_a_tag_moves(daemon: Daemon) -> None:
    one = build(daemon, "app:latest", dockerfile=f"FROM {IMAGE}\nLABEL test=tag-moves one=1\n")
    two = build(daemon, "app:2", dockerfile=f"FROM {IMAGE}\nLABEL test=tag-moves two=2\n")
    daemon.docker("tag", "app:2", "app:latest")
    assert set(daemon.lines("images", "-q", "--no-trunc", "--filter", "reference=app")) == {two}
    assert daemon.lines("images", "-q", "--no-trunc", "--filter", "dangling=true") == [one]
    row = daemon.out("images", "--filter", "dangling=true", "--format", _SHORT)
    assert row == "<none>:<none>"
    assert daemon.lines("image", "prune", "-f")[-1].startswith("Total reclaimed space:")
    assert daemon.fails("image", "inspect", one)


def test_names_that_are_none(daemon: Daemon) -> None:
    assert "is not a valid repository/tag" in daemon.fails("tag", IMAGE, "App:1")
    assert "No such image: nosuch:latest" in daemon.fails("tag", "nosuch", "app")
    assert "No such image: nosuch:1" in daemon.fails("image", "inspect", "nosuch:1")
    assert "invalid" in daemon.fails("image", "inspect", "a:b:c")


def test_what_is_in_use_stays(daemon: Daemon) -> None:
    made = build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nLABEL test=in-use\n")
    running = daemon.up("web", image="app:1")
    said = daemon.fails("rmi", "app:1")
    assert 'conflict: unable to remove repository reference "app:1" (must force)' in said
    assert running[:12] in said
    said = daemon.fails("rmi", "-f", made)
    assert "cannot be forced" in said
    assert "running container" in said
    assert daemon.lines("rmi", "-f", "app:1") == ["Untagged: app:1"]
    assert daemon.field("web", "{{.Image}}") == made
    daemon.docker("restart", "-t", "0", "web")
    daemon.docker("stop", "web")
    said = daemon.fails("rmi", made)
    assert "image is being used by stopped container" in said
    daemon.docker("rmi", "-f", made)
    daemon.docker("rm", "web")


def test_a_container_outlives_its_image(daemon: Daemon) -> None:
    made = build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nRUN echo there > /file\n")
    daemon.docker("create", "--name", "web", "app:1", "cat", "/file")
    daemon.docker("rmi", "-f", made)
    assert daemon.out("start", "-a", "web") == "there"
    assert daemon.docker("cp", "web:/file", "-").stdout
    daemon.docker("rm", "web")


def test_an_image_with_several_names_is_not_removed_by_its_id(daemon: Daemon) -> None:
    made = build(daemon, "app:1", "app:2", dockerfile=f"FROM {IMAGE}\nLABEL test=by-id\n")
    assert "image is referenced in multiple repositories" in daemon.fails("rmi", made) or not daemon.lines(
        "images", "-q", "app"
    )
    daemon.docker("tag", made, "other:1", check=False)
    daemon.docker("rmi", "-f", made, check=False)
    assert not listed(daemon) - {IMAGE}


def test_an_image_that_others_stand_on_is_only_untagged(daemon: Daemon) -> None:
    below = build(daemon, "below:1", dockerfile=f"FROM {IMAGE}\nLABEL test=below\n")
    above = build(daemon, "above:1", dockerfile="FROM below:1\nLABEL test=above\n")
    assert daemon.lines("rmi", "below:1") == ["Untagged: below:1"]
    assert "image has dependent child images" in daemon.fails("rmi", below)
    said = daemon.lines("rmi", "above:1")
    assert f"Deleted: {above}" in said
    assert f"Deleted: {below}" in said  # nothing needs it any more


def test_filters_and_columns(daemon: Daemon) -> None:
    build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nLABEL test=filters tier=web\n")
    build(daemon, "app:2", dockerfile="FROM app:1\nLABEL test=filters2\n")
    assert listed(daemon, "--filter", "label=tier=web") == {"app:1", "app:2"}
    assert listed(daemon, "--filter", "label=test=filters") == {"app:1"}
    assert listed(daemon, "--filter", "reference=a*:2") == {"app:2"}
    assert listed(daemon, "--filter", "since=app:1") == {"app:2"}
    assert listed(daemon, "--filter", "before=app:2") >= {"app:1"}
    assert listed(daemon, "app:2") == {"app:2"}
    assert listed(daemon, "app") == {"app:1", "app:2"}
    assert "invalid filter" in daemon.fails("images", "--filter", "nosuch=1")
    row = json.loads(daemon.lines("images", "--format", "{{json .}}", "app:1")[0])
    assert re.fullmatch(r"[0-9a-f]{12}", row["ID"])
    assert re.fullmatch(r"[\d.]+MB", row["Size"])
    assert (row["Repository"], row["Tag"], row["Digest"]) == ("app", "1", "<none>")
    header = daemon.lines("images")[0].split()
    assert header == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]


def test_intermediate_images_are_shown_only_when_asked(daemon: Daemon) -> None:
    build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nLABEL test=intermediate\nENV A=b\nRUN true\n")
    assert len(daemon.lines("images", "-q")) == 2
    assert len(daemon.lines("images", "-aq")) >= 4


def test_history_tells_each_step(daemon: Daemon) -> None:
    build(daemon, "app:1", dockerfile=f'FROM {IMAGE}\nENV A=b\nRUN head -c 100000 /dev/zero > /big\nCMD ["true"]\n')
    template = "{{.CreatedBy}}|{{.Size}}|{{.ID}}"
    rows = [line.split("|") for line in daemon.lines("history", "--no-trunc", "--format", template, "app:1")]
    assert rows[0][0].endswith('CMD ["true"]')
    assert rows[1][:2] == ["/bin/sh -c head -c 100000 /dev/zero > /big", "100kB"]
    assert rows[2][0].endswith("ENV A=b")
    assert [row[1] for row in (rows[0], rows[2])] == ["0B", "0B"]
    assert rows[0][2] == daemon.inspect("app:1", kind="image")["Id"]
    assert len(rows) == 4
    assert daemon.lines("history", "-q", "app:1")[-1] == daemon.lines("images", "-q", IMAGE)[0]


def test_inspect(daemon: Daemon) -> None:
    dockerfile = (
        f"FROM {IMAGE}\nMAINTAINER me@example.test\nEXPOSE 80 53/udp\nVOLUME /data\nUSER nobody\nWORKDIR /tmp\n"
    )
    dockerfile += 'STOPSIGNAL INT\nENTRYPOINT ["a"]\nSHELL ["/bin/ash", "-c"]\n'
    made = build(daemon, "app:1", dockerfile=dockerfile)
    found = daemon.inspect("app:1", kind="image")
    config = found["Config"]
    assert (found["Id"], found["RepoTags"], found["RepoDigests"], found["Author"]) == (
        made,
        ["app:1"],
        [],
        "me@example.test",
    )
    assert (found["Os"], found["Architecture"] in {"amd64", "arm64"}, found["RootFS"]["Type"]) == (
        "linux",
        True,
        "layers",
    )
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert (config["Volumes"], config["User"], config["WorkingDir"]) == ({"/data": {}}, "nobody", "/tmp")
    assert (config["StopSignal"], config["Entrypoint"], config["Shell"]) == ("INT", ["a"], ["/bin/ash", "-c"])
    assert set(found) >= {"Parent", "Comment", "Created", "DockerVersion", "Size", "GraphDriver", "Metadata"}
    assert daemon.out("image", "inspect", "-f", "{{.Id}}", made[7:19]) == made


def test_an_image_just_made_takes_its_layers_along(embedded: Daemon) -> None:
    assert isinstance(embedded.engine, EmbeddedEngine)
    root = embedded.engine.root
    places = (root / "images" / "blobs" / "sha256", root / "layers")

    def stored() -> set[str]:
        return {path.name for place in places for path in place.iterdir() if not path.name.startswith(".")}

    before = stored()
    build(embedded, "made", dockerfile=f"FROM {IMAGE}\nRUN head -c 100000 /dev/urandom > /a\nRUN date > /b\n")
    embedded.docker("run", "--name", "web", "made", "sh", "-c", "echo c > /c")
    embedded.docker("commit", "web", "committed")
    embedded.docker("export", "-o", str(embedded.home / "web.tar"), "web")
    embedded.docker("import", str(embedded.home / "web.tar"), "imported")
    embedded.docker("rm", "web")
    embedded.docker("rmi", "committed", "made", "imported")
    engines.wait_until(lambda: stored() == before, "nothing to be left", 10)


def test_prune_takes_what_a_pull_that_broke_has_left(embedded: Daemon) -> None:
    assert isinstance(embedded.engine, EmbeddedEngine)
    left = embedded.engine.root / "images" / "ingest" / f"{'0' * 64}.partial"
    left.write_bytes(bytes(1000))
    status, answer = embedded.engine.api("POST", "/images/prune")
    assert (status, answer["SpaceReclaimed"]) == (200, 1000)
    assert not left.exists()


def test_prune_takes_all_that_no_container_uses_when_asked(daemon: Daemon) -> None:
    build(daemon, "used:1", dockerfile=f"FROM {IMAGE}\nLABEL test=used\n")
    build(daemon, "unused:1", dockerfile=f"FROM {IMAGE}\nLABEL test=unused keep=yes\n")
    daemon.docker("create", "--name", "web", "used:1")
    daemon.docker("image", "prune", "-a", "-f", "--filter", "label=keep")
    assert listed(daemon) == {IMAGE, "used:1"}
    build(daemon, "unused:1", dockerfile=f"FROM {IMAGE}\nLABEL test=unused keep=yes\n")
    daemon.docker("image", "prune", "-a", "-f", "--filter", "until=24h")
    assert listed(daemon) == {"used:1", "unused:1"}  # busybox is of 1970, and only its child is in use
    said = daemon.out("image", "prune", "-a", "-f")
    assert "untagged: unused:1" in said
    assert listed(daemon) == {"used:1"}


def test_save_and_load(daemon: Daemon, tmp_path: Path) -> None:
    made = build(daemon, "app:1", "app:latest", dockerfile=f"FROM {IMAGE}\nRUN echo content > /file\nLABEL test=save\n")
    daemon.docker("save", "-o", str(tmp_path / "app.tar"), "app:1", "app:latest", IMAGE)
    with tarfile.open(tmp_path / "app.tar") as archive:
        names = archive.getnames()
        manifest = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert {"manifest.json", "repositories"} <= set(names)
    assert sorted(sorted(entry["RepoTags"]) for entry in manifest) == [["app:1", "app:latest"], [IMAGE]]
    daemon.docker("rmi", "app:1", "app:latest")
    said = daemon.docker("load", "-i", str(tmp_path / "app.tar")).stdout
    assert {"Loaded image: app:1", "Loaded image: app:latest", f"Loaded image: {IMAGE}"} <= set(said.splitlines())
    assert daemon.inspect("app:latest", kind="image")["Id"] == made
    assert daemon.run("app:1", "cat", "/file") == "content"


def test_save_without_a_name_and_through_pipes(daemon: Daemon) -> None:
    made = build(daemon, "app:1", dockerfile=f"FROM {IMAGE}\nLABEL test=pipe\n")
    saved = subprocess.run(daemon.argv("save", made), check=True, capture_output=True, env=daemon.environment()).stdout
    daemon.docker("rmi", "app:1")
    ended = subprocess.run(daemon.argv("load"), check=True, capture_output=True, input=saved, env=daemon.environment())
    assert ended.stdout.decode().splitlines()[-1] == f"Loaded image ID: {made}"


@pytest.mark.parametrize("program", ["gzip", "xz", "zstd"])
def test_load_reads_what_is_compressed(daemon: Daemon, tmp_path: Path, program: str) -> None:
    daemon.docker("save", "-o", str(tmp_path / "image.tar"), IMAGE)
    subprocess.run([program, "-q", str(tmp_path / "image.tar")], check=True)
    (path,) = tmp_path.glob("image.tar.*")
    assert f"Loaded image: {IMAGE}" in daemon.docker("load", "-i", str(path)).stdout


def test_load_of_what_is_no_image(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no archive")
    assert daemon.fails("load", "-i", str(tmp_path / "text"))
    with tarfile.open(tmp_path / "empty.tar", "w") as archive:
        archive.add(tmp_path / "text", "text")
    assert daemon.fails("load", "-i", str(tmp_path / "empty.tar"))
    assert listed(daemon) == {IMAGE}


def test_an_image_of_one_engine_loads_in_the_other(embedded: Daemon, docker26: object, tmp_path: Path) -> None:
    from tests.e2e.engine.clients import Daemon

    theirs = Daemon(engine=docker26, home=tmp_path)  # type: ignore[arg-type]
    for there, here in ((theirs, embedded), (embedded, theirs)):
        made = build(there, "app:1", dockerfile=f"FROM {IMAGE}\nRUN echo {there.name} > /file && chown 5:6 /file\n")
        there.docker("save", "-o", str(tmp_path / "app.tar"), "app:1")
        here.docker("load", "-i", str(tmp_path / "app.tar"))
        assert here.inspect("app:1", kind="image")["Id"] == made
        assert here.run("app:1", "sh", "-c", "cat /file; stat -c %u:%g /file") == f"{there.name}\n5:6"
        for daemon in (here, there):
            daemon.docker("rmi", "-f", "app:1")
