"""Git repositories: as contexts, and as sources of ADD.

The rule that keeps it simple: the git program does it, told to ask nobody, to run no helper of the repository's choosing, and
never given an address that it could take for an option.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from declarative.engine.build.fetching import without_user
from declarative.errors import Failed, Invalid, NotFound
from declarative.record import record

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.engine.build.solver import Stop
    from declarative.registry.proxies import Proxies

_HTTP = re.compile(r"https?://[^#?]+\.git(?:[#?].*)?", re.IGNORECASE)
_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^ ]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SAFE = (
    "-c", "protocol.ext.allow=never", "-c", "protocol.file.allow=user", "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false", "-c", "credential.helper=", "-c", "safe.directory=*",
)  # fmt: skip
_POLL_SECONDS = 0.2


@record
class Repository:
    """`ref`: a branch, a tag or a commit, "" for the default; `folder`: a folder in it, "" for all."""

    address: str
    ref: str = ""
    folder: str = ""


def is_repository(text: str) -> bool:
    """Tell whether a source of ADD, or a context, is a repository."""
    if text.lower().startswith(("git://", "ssh://")):
        return True
    return bool(_HTTP.fullmatch(text) or (_SCP.fullmatch(text) and "://" not in text))


def parse_repository(text: str) -> Repository:
    """Read `ADDRESS[#REF[:FOLDER]]`. Raises Invalid for one that git could take for an option."""
    address, _, fragment = text.partition("#")
    ref, _, folder = fragment.partition(":")
    if address.lower().startswith("github.com/"):
        address = f"https://{address}"
    if address.startswith("-") or ref.startswith("-"):
        raise Invalid("", f"invalid git repository: {text}", "write an address, and #REF after it")
    return Repository(address=address, ref=ref, folder=folder.strip("/"))


def fetch_repository(
    text: str, folder: Path, *, keep_git: bool = False, checksum: str = "", stop: Stop, proxies: Proxies
) -> Repository:
    """Put the files of a repository at its ref into `folder`. Failed where git fails, NotFound for a folder not in it."""
    wanted = parse_repository(text)
    tree = folder if not wanted.folder else folder.with_name(f"{folder.name}.git")
    tree.mkdir(exist_ok=True)
    git = _Git(tree, wanted, stop, proxies)
    git.run("init", "--quiet", ".")
    git.run("remote", "add", "--", "origin", wanted.address)
    if wanted.ref and _COMMIT.fullmatch(wanted.ref):
        git.run("fetch", "--quiet", "--tags", "origin")
        git.run("checkout", "--quiet", "--detach", wanted.ref)
    else:
        _fetch_one(git, wanted.ref or "HEAD")
        git.run("checkout", "--quiet", "--detach", "FETCH_HEAD")
    if checksum:
        _compare(git.run("rev-parse", "HEAD").strip(), checksum, wanted)
    git.run("submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1")
    if not keep_git:
        for left in (*tree.rglob(".git"),):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
    if tree is not folder:
        _take_folder(tree, wanted, folder)
    return wanted


def _fetch_one(git: _Git, ref: str) -> None:
    """Fetch a ref without its history, unless the server is one that cannot give less (plain files over HTTP)."""
    try:
        git.run("fetch", "--quiet", "--depth", "1", "origin", "--", ref)
    except Failed as error:
        if "shallow" not in error.problem:
            raise
        git.run("fetch", "--quiet", "origin", "--", ref)


class _Git:
    """Runs git in one folder."""

    def __init__(self, folder: Path, repository: Repository, stop: Stop, proxies: Proxies) -> None:
        self._folder = folder
        self._repository = repository
        self._stop = stop
        self._proxies = proxies

    def run(self, *arguments: str) -> str:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,  # what is fetched must not become git's settings
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            **self._proxies.environment(),
        }
        process = subprocess.Popen(
            ["git", *_SAFE, *arguments],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        while True:
            try:
                out, err = process.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if self._stop:
                    os.killpg(process.pid, 9)
                    process.communicate()
                    self._stop.check()
        if process.returncode:
            shown = without_user(self._repository.address)
            said = err.decode(errors="replace").replace(self._repository.address, shown).strip()
            raise Failed(
                "", f"failed to fetch {shown}: git {arguments[0]}: {said}", "see whether address and ref are right"
            )
        return out.decode(errors="replace")


def _compare(commit: str, checksum: str, wanted: Repository) -> None:
    if not commit.startswith(checksum):
        problem = f"expected checksum to match {checksum}, got {commit} for {without_user(wanted.address)}"
        raise Invalid("", problem, "the ref is another commit than it was")


def _take_folder(tree: Path, wanted: Repository, folder: Path) -> None:
    """Move what is in one folder of a repository; a link may not lead out of it."""
    found = (tree / wanted.folder).resolve()
    if not found.is_relative_to(tree.resolve()) or not found.is_dir():
        raise NotFound("", f"there is no folder {wanted.folder} in {without_user(wanted.address)}")
    folder.rmdir()
    found.rename(folder)
    shutil.rmtree(tree)
