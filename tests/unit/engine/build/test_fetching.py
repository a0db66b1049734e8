"""Files from the web and repositories, from servers of the test's own."""

from __future__ import annotations

import hashlib
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.engine.build.context import Context
from declarative.engine.build.fetching import fetch_into, fetching, is_url, without_user
from declarative.engine.build.files import find, read
from declarative.engine.build.git import fetch_repository, is_repository, parse_repository
from declarative.engine.build.output import Voice
from declarative.engine.build.remote import take_remote
from declarative.engine.build.solver import Stop
from declarative.errors import Failed, Interrupted, Invalid, NotFound, Unavailable
from declarative.registry.proxies import Proxies
from tests.sockets import serving_folder
from tests.unit.engine.build.test_context import tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUIET = Voice(lambda _: None, 1)
DIRECT = Proxies()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve a folder; give its address and the folder."""
    root = tmp_path / "web"
    root.mkdir()
    with serving_folder(root) as address:
        yield address, root


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    made = Context.in_folder(tmp_path)
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path, web: tuple[str, Path]) -> tuple[str, str]:
    """Make a repository and serve it; give its address and a commit that is not the last."""
    work = tmp_path / "work"
    work.mkdir()

    def git(*arguments: str) -> str:
        named = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
        return subprocess.run(["git", *named, *arguments], cwd=work, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    (work / "Dockerfile").write_text("FROM scratch\n")
    git("add", ".")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD").strip()
    (work / "sub").mkdir()
    (work / "sub" / "file").write_text("in sub")
    (work / "leave").symlink_to("/etc")
    git("add", ".")
    git("commit", "-qm", "two")
    git("tag", "v1")
    bare = web[1] / "repo.git"
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True, capture_output=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
    return f"{web[0]}/repo.git", first


def content(context: Context, path: str) -> bytes:
    file = find(context, path.encode())
    assert file is not None
    return b"".join(read(context, file))


def test_a_file_has_the_name_that_ends_its_path(context: Context, web: tuple[str, Path]) -> None:
    (web[1] / "a b.txt").write_text("hello")
    name = fetch_into(
        context, f"{web[0]}/a%20b.txt?x=1", into="/", checksum="", voice=QUIET, stop=Stop(), proxies=DIRECT
    )
    file = context.lookup(name)

    assert name == b"a b.txt"
    assert content(context, "a b.txt") == b"hello"
    assert file is not None
    assert file.mode == 0o600
    assert file.mtime > 0


def test_a_checksum_is_compared(context: Context, web: tuple[str, Path]) -> None:
    (web[1] / "a").write_text("hello")
    right = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
    wrong = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    fetch_into(context, f"{web[0]}/a", into="/", checksum=right, voice=QUIET, stop=Stop(), proxies=DIRECT)

    with pytest.raises(Invalid, match="digest mismatch"):
        fetch_into(context, f"{web[0]}/a", into="/", checksum=wrong, voice=QUIET, stop=Stop(), proxies=DIRECT)


def test_a_folder_needs_a_name(context: Context, web: tuple[str, Path]) -> None:
    with pytest.raises(Invalid, match="cannot determine filename from url"):
        fetch_into(context, f"{web[0]}/", into="/x/", checksum="", voice=QUIET, stop=Stop(), proxies=DIRECT)


def test_a_refusal_is_told_without_the_password(web: tuple[str, Path]) -> None:
    address = web[0].replace("http://", "http://me:secret@")

    with pytest.raises(Failed, match="with status 404") as caught, fetching(f"{address}/nope", Stop(), DIRECT):
        pass

    assert "secret" not in str(caught.value)


def test_a_proxy_that_is_down_is_told_without_the_password() -> None:
    url = "http://user:s3cret@example.test/file?x=1"
    with pytest.raises(Unavailable) as caught, fetching(url, Stop(), Proxies(http="http://127.0.0.1:9")):
        pass
    assert "s3cret" not in str(caught.value)
    assert "http://example.test/file" in str(caught.value)


def test_nothing_that_answers_is_unavailable() -> None:
    with pytest.raises(Unavailable), fetching("http://127.0.0.1:1/x", Stop(), DIRECT):
        pass


def test_a_download_stops_when_the_build_does(context: Context, web: tuple[str, Path]) -> None:
    (web[1] / "big").write_bytes(b"x" * (1 << 22))
    stop = Stop()
    stop.set()

    with pytest.raises(Interrupted):
        fetch_into(context, f"{web[0]}/big", into="/", checksum="", voice=QUIET, stop=stop, proxies=DIRECT)


def test_what_is_a_url_and_what_a_repository() -> None:
    assert is_url("https://x/y")
    assert not is_url("ftp://x/y")
    for text in ("git://x/y", "https://x/y.git", "https://x/y.git#v1:sub", "git@github.com:a/b.git", "ssh://x/y"):
        assert is_repository(text)
    for text in ("https://x/y.tar", "a.git", "./git@x", "https://x/y.gitx"):
        assert not is_repository(text)
    assert without_user("https://u:p@x/y#z") == "https://x/y#z"


@pytest.mark.parametrize("text", ["-x", "--upload-pack=sh", "https://x/y.git#-f"])
def test_an_address_is_never_an_option(text: str) -> None:
    with pytest.raises(Invalid, match="invalid git repository"):
        parse_repository(text)


def test_a_repository_at_its_head_at_a_tag_at_a_commit(repository: tuple[str, str], tmp_path: Path) -> None:
    address, first = repository
    for number, (ref, has_sub) in enumerate((("", True), ("#v1", True), ("#main", True), (f"#{first}", False))):
        folder = tmp_path / f"f{number}"
        fetch_repository(f"{address}{ref}", folder, stop=Stop(), proxies=Proxies())

        assert (folder / "Dockerfile").is_file()
        assert (folder / "sub").is_dir() is has_sub
        assert not (folder / ".git").exists()


def test_a_folder_of_a_repository(repository: tuple[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    fetch_repository(f"{repository[0]}#:sub", folder, stop=Stop(), proxies=Proxies())

    assert [path.name for path in folder.iterdir()] == ["file"]


@pytest.mark.parametrize("fragment", [":nope", ":leave", ":../x"])
def test_a_folder_that_is_not_in_it_is_refused(repository: tuple[str, str], tmp_path: Path, fragment: str) -> None:
    folder = tmp_path / "f"
    folder.mkdir()

    with pytest.raises(NotFound, match="there is no folder"):
        fetch_repository(f"{repository[0]}#{fragment}", folder, stop=Stop(), proxies=Proxies())


def test_its_git_folder_is_kept_on_request(repository: tuple[str, str], tmp_path: Path) -> None:
    fetch_repository(repository[0], tmp_path / "f", keep_git=True, stop=Stop(), proxies=Proxies())

    assert (tmp_path / "f" / ".git").is_dir()


def test_another_commit_than_its_checksum_is_refused(repository: tuple[str, str], tmp_path: Path) -> None:
    address, first = repository
    fetch_repository(f"{address}#{first}", tmp_path / "f", checksum=first[:12], stop=Stop(), proxies=Proxies())

    with pytest.raises(Invalid, match="expected checksum to match"):
        fetch_repository(address, tmp_path / "g", checksum=first, stop=Stop(), proxies=Proxies())


def test_a_repository_that_is_not_there_is_told(web: tuple[str, Path], tmp_path: Path) -> None:
    address = web[0].replace("http://", "http://me:secret@")

    with pytest.raises(Failed, match="failed to fetch") as caught:
        fetch_repository(f"{address}/none.git", tmp_path / "f", stop=Stop(), proxies=Proxies())

    assert "secret" not in str(caught.value)


def test_a_remote_context_is_an_archive_a_dockerfile_or_a_repository(
    context: Context, web: tuple[str, Path], repository: tuple[str, str], tmp_path: Path
) -> None:
    (web[1] / "context.tar").write_bytes(tar(("Dockerfile", b"FROM a\n"), ("x", b"1")))
    (web[1] / "Dockerfile.txt").write_text("FROM b\n")

    def folder() -> Path:
        made = tmp_path / "r"
        made.mkdir()
        return made

    for remote, expected in (
        (f"{web[0]}/context.tar", b"FROM a\n"),
        (f"{web[0]}/Dockerfile.txt", b"FROM b\n"),
        (repository[0], b"FROM scratch\n"),
    ):
        assert take_remote(remote, context, "Dockerfile", folder, Stop(), DIRECT) == "Dockerfile"
        assert content(context, "Dockerfile") == expected

    with pytest.raises(Invalid, match="neither a URL nor a git repository"):
        take_remote("file:///etc", context, "Dockerfile", folder, Stop(), DIRECT)
