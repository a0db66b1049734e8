"""Builds with the real parts: COPY and ADD, what a request may ask for, and trouble.

The rule that keeps it simple: after every test nothing may be left that only a running build has.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from declarative.engine.build.builder import Builder
from declarative.errors import DeclarativeError, Failed, Interrupted, Invalid
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference
from tests.contract.engine.build.builders import Said, Shop, archive
from tests.sockets import serving_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("nothing_is_left")


# ---- COPY and ADD


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, bz2.compress, lzma.compress, zstd.compress])
def test_add_unpacks_every_compression(made: Shop, pack: object) -> None:
    assert callable(pack)
    id_, _ = made.build("FROM scratch\nADD rootfs.tar.any /\n", {"rootfs.tar.any": pack(archive({"etc/x": "1"}))})

    assert set(made.files(id_)) == {"etc", "etc/x"}


def test_a_workdir_that_is_made_belongs_to_the_user(made: Shop) -> None:
    id_, _ = made.build(
        "FROM busybox\nRUN mkdir /root-owned\nUSER nobody\nWORKDIR /app/src\nRUN touch mine\nWORKDIR /root-owned\n"
        "USER 7\nWORKDIR /seven\nUSER 8:9\nWORKDIR /nine\nUSER stranger\nWORKDIR /strange\nCOPY f by/\n",
        {"f": "x"},
    )
    files = made.files(id_)
    owners = {name: (file.uid, file.gid) for name, file in files.items()}

    assert owners["app"] == owners["app/src"] == owners["app/src/mine"] == (65534, 65534)
    assert owners["seven"] == (7, 7)
    assert owners["nine"] == (8, 9)
    assert owners["root-owned"] == owners["strange"] == owners["strange/by"] == (0, 0)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder; give its address and the folder."""
    root = tmp_path / "web"
    root.mkdir()
    with serving_folder(root) as address:
        yield address, root


def test_add_fetches_a_url_and_unpacks_it_on_request_alone(made: Shop, web: tuple[str, Path]) -> None:
    packed = gzip.compress(archive({"in": "1"}))
    (web[1] / "a.tar.gz").write_bytes(packed)
    checksum = f"sha256:{hashlib.sha256(packed).hexdigest()}"
    id_, _ = made.build(
        f"FROM scratch\nADD --checksum={checksum} {web[0]}/a.tar.gz /kept/\nADD --unpack=true {web[0]}/a.tar.gz /out/\n"
        f"ADD --chmod=640 --chown=3:4 {web[0]}/a.tar.gz /named\n"
    )
    files = made.files(id_)

    assert set(files) == {"kept", "kept/a.tar.gz", "out", "out/in", "named"}
    assert (files["kept/a.tar.gz"].mode, files["named"].mode, files["named"].uid, files["named"].gid) == (
        0o600,
        0o640,
        3,
        4,
    )


def test_add_of_a_url_that_changed_is_made_anew(made: Shop, web: tuple[str, Path]) -> None:
    text = f"FROM scratch\nADD {web[0]}/f /\n"
    (web[1] / "f").write_text("1")
    first, _ = made.build(text)
    _, same = made.build(text)
    (web[1] / "f").write_text("2")
    second, _ = made.build(text)

    assert "Using cache" in same.text
    assert (made.content(first, "f"), made.content(second, "f")) == (b"1", b"2")


def test_add_of_another_file_than_its_checksum_is_refused(made: Shop, web: tuple[str, Path]) -> None:
    (web[1] / "f").write_text("1")
    with pytest.raises(Failed, match="ADD failed: digest mismatch"):
        made.build(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} {web[0]}/f /\n")
    with pytest.raises(Failed, match=r"ADD failed: failed to GET .*/none with status 404"):
        made.build(f"FROM scratch\nADD {web[0]}/none /\n")
    with pytest.raises(Failed, match="checksum can't be specified for f"):
        made.build(f"FROM scratch\nADD --checksum=sha256:{'0' * 64} f /\n", {"f": ""})


def test_contexts_and_sources_from_repositories(made: Shop, web: tuple[str, Path], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (work / "d").mkdir()
    (work / "d" / "f").write_text("in git")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-qm", "one"), ("tag", "v1")):
        subprocess.run([*git, *arguments], cwd=work, check=True, capture_output=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, web[1] / "r.git"], check=True, capture_output=True)
    subprocess.run(["git", "update-server-info"], cwd=web[1] / "r.git", check=True)

    built, _ = made.build("FROM nothing\n", remote=f"{web[0]}/r.git#v1")
    added, _ = made.build(
        f"FROM scratch\nADD {web[0]}/r.git#v1:d /a/\nADD --keep-git-dir=true --chown=5:5 {web[0]}/r.git /b\n"
    )
    files = made.files(added)

    assert made.content(built, "d/f") == made.content(added, "a/f") == b"in git"
    assert "b/.git/HEAD" in files
    assert not any(path.startswith("a/.git") for path in files)
    assert (files["b/d/f"].uid, files["a/f"].uid) == (5, 0)


def test_a_context_from_the_web(made: Shop, web: tuple[str, Path]) -> None:
    (web[1] / "c.tgz").write_bytes(gzip.compress(archive({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "web"})))
    (web[1] / "Dockerfile").write_text("FROM busybox\nLABEL from=web\n")
    id_, _ = made.build("", remote=f"{web[0]}/c.tgz")
    alone, _ = made.build("", remote=f"{web[0]}/Dockerfile")

    assert made.content(id_, "f") == b"web"
    assert made.config(alone)["config"]["Labels"] == {"from": "web"}


def test_no_container_is_told_to_be_removed_where_none_is_to_be(made: Shop) -> None:
    _, said = made.build("FROM busybox\nRUN true\nENV k=1\n", no_cache=True, remove=False)

    assert "Removing" not in said.text
    assert said.text.count("Running in") == 2


def test_link_looks_at_nothing_below(made: Shop) -> None:
    id_, _ = made.build("FROM busybox\nRUN mkdir -m 700 /l && ln -s l /m\nCOPY --link f /m/\nCOPY f /l/\n", {"f": "x"})
    files = made.files(id_)

    assert (files["m"].isdir(), files["l"].mode, "m/f" in files, "l/f" in files) == (True, 0o700, True, True)


def test_copy_fails_in_the_words_of_the_classic_builder(made: Shop) -> None:
    with pytest.raises(Failed) as caught:
        made.build("FROM scratch\nCOPY nope /\n")
    assert str(caught.value) == (
        "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"
    )
    with pytest.raises(Failed, match=r"^COPY failed: stat nope: file does not exist$"):
        made.build("FROM scratch\nCOPY --from=busybox /nope /\n")


# ---- the request


def test_a_dockerfile_is_refused_with_its_line_and_a_suggestion(made: Shop) -> None:
    for text, words in (
        ("FROM busybox\nRNU x\n", "dockerfile parse error line 2: unknown instruction: RNU — did you mean `RUN`?"),
        (
            "FROM busybox\nCOPY --chwon=1 a /\n",
            "dockerfile parse error line 2: unknown flag: --chwon — did you mean `chown`?",
        ),
    ):
        said = Said()
        with pytest.raises(Invalid) as caught:
            made.build(text, said=said)

        assert str(caught.value) == words
        assert said.messages == []


def test_a_dockerfile_that_is_not_there_is_named(made: Shop) -> None:
    with pytest.raises(Invalid, match="Cannot locate specified Dockerfile: Other"):
        made.build("FROM busybox\n", named="Other")


def test_a_dockerfile_elsewhere_in_the_context(made: Shop) -> None:
    id_, _ = made.build("FROM nothing\n", {"d/Other": "FROM busybox\nLABEL which=other\n"}, named="d/Other")

    assert made.config(id_)["config"]["Labels"] == {"which": "other"}


def test_a_build_of_nothing_makes_no_image(made: Shop) -> None:
    with pytest.raises(Failed, match=r"No image was generated\. Is your Dockerfile empty"):
        made.build("FROM scratch\n")


def test_tags_are_given_and_told(made: Shop) -> None:
    id_, said = made.build("FROM busybox\nLABEL t=1\n", tags=(Reference.parse("t/one"), Reference.parse("t/one:2")))

    assert said.text.endswith("Successfully tagged t/one:latest\nSuccessfully tagged t/one:2\n")
    assert made.images.resolve("t/one:2").id == id_


def test_build_arguments_that_nobody_asks_for_are_told(made: Shop) -> None:
    _, said = made.build("FROM busybox\nARG A\n", args={"A": "1", "B": "2"})

    assert "[Warning] One or more build-args [B] were not consumed\n" in said.text


def test_an_image_for_another_platform_is_not_the_one_here(made: Shop) -> None:
    with pytest.raises(DeclarativeError):  # it is not here, so it is pulled, and there is nothing to pull from
        made.build("FROM --platform=linux/arm64 busybox\nENV a=b\n")

    id_, _ = made.build("FROM scratch\nENV a=b\n", platform=Platform.parse("linux/arm64"))
    assert made.config(id_)["architecture"] == "arm64"


def test_a_platform_that_is_none_is_refused(made: Shop) -> None:
    with pytest.raises(Invalid, match="failed to parse platform nonsense"):
        made.build("FROM --platform=nonsense busybox\n")


# ---- faults


def test_a_client_that_goes_stops_the_build_and_its_command(made: Shop) -> None:
    gone = threading.Event()
    said = Said()
    errors: list[BaseException] = []

    def build() -> None:
        try:
            made.build("FROM busybox\nRUN echo begun; sleep 1234567\n", gone=gone.is_set, said=said)
        except Interrupted as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    while "begun\n" not in said.text:
        time.sleep(0.02)
    assert subprocess.run(["pgrep", "-f", "sleep 1234567"], check=False, capture_output=True).returncode == 0

    gone.set()
    thread.join(30)

    assert not thread.is_alive()
    assert len(errors) == 1
    assert subprocess.run(["pgrep", "-f", "sleep 1234567"], check=False, capture_output=True).returncode == 1


def test_equal_builds_at_once_all_succeed(made: Shop) -> None:
    text = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /u; sleep 0.5\nCOPY f /\n"
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(made.build(text, {"f": "x"})[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 4
    assert all(made.content(id_, "f") == b"x" for id_ in ids)


def test_what_a_crash_left_goes_at_the_next_start(made: Shop) -> None:
    work = made.parts.settings.paths.build / "work" / "dead"
    for name in ("lower", "upper", "work", "root"):
        (work / name).mkdir(parents=True)
    options = f"lowerdir={work}/lower,upperdir={work}/upper,workdir={work}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(work / "root")], check=True)

    Builder(made.parts)

    assert not work.exists()


@pytest.mark.parametrize("name", ["../escape", "/etc/../../escape"])
def test_a_hostile_context_is_refused(made: Shop, name: str) -> None:
    said = Said()
    with pytest.raises(Invalid, match="leads out of the context"):
        made.build("FROM busybox\n", {name: "x"}, said=said)

    assert said.messages == []


def test_a_hostile_link_in_an_image_leads_nowhere(made: Shop, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    id_, _ = made.build(
        f"FROM busybox\nRUN ln -s /../../../../..{outside} /out && ln -s {outside} /abs\n"
        "COPY f /out/\nCOPY f /abs/g\nWORKDIR /out/w\nADD a.tar /out/\n",
        {"f": "x", "a.tar": archive({"in": "y"})},
    )

    assert list(outside.iterdir()) == []
    assert {f"{str(outside)[1:]}/{name}" for name in ("f", "g", "w", "in")} <= made.files(id_).keys()
