"""What templates may know of the Git repository that a manifest stands in.

The rule that keeps it simple: the git command line is asked, one question per name, only when a template uses the name, and once.
Nothing is written (not even the index) and nobody is prompted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.tags.version import Version
from declarative.errors import Invalid
from declarative.manifest.scope import Absent, Lookup, TemplateFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from declarative.core.tags.version import Order

_NAMES = ("branch", "commit", "describe", "dirty", "tag")
_TIMEOUT = 30.0
"""Seconds for one question: `git status` of a very large work tree takes a few."""
# A repository may name programs to be run in its own configuration; a manifest's author is not always its owner.
_SAFE = ("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never")


class Git(Lookup):
    """The repository around `folder`: `commit` (40 hex digits), `branch`, `tag`, `describe` (text), `dirty` (bool).

    `branch` is absent on a detached HEAD, `tag` where no tag points at the commit (the highest version of several is given).
    `dirty` is about tracked files, as in `git describe --dirty`. Raises `TemplateFault` where git cannot answer.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {**environ, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        self._known: dict[str, object] = {}

    def names(self) -> Iterable[str]:
        """Give the names that `lookup` knows."""
        return _NAMES

    def lookup(self, name: str) -> object:
        """Give the value of one of `names()`, `Absent` where the repository has none, KeyError for other names."""
        if name not in _NAMES:
            raise KeyError(name)
        if name not in self._known:
            self._known[name] = self._ask(name)
        return self._known[name]

    def tags(self) -> list[str]:
        """Give the tags of the commit: versions first, the highest of them first, then the others as git sorts them."""
        found = self._run("tag", "--points-at", "HEAD", "--sort=-version:refname").splitlines()
        return sorted(found, key=_precedence, reverse=True)

    def _ask(self, name: str) -> object:
        if name == "commit":
            return self._run("rev-parse", "--verify", "HEAD")
        if name == "dirty":
            return bool(self._run("status", "--porcelain", "--untracked-files=no"))
        if name == "describe":
            # `describe --dirty` writes the index, whatever GIT_OPTIONAL_LOCKS says
            return self._run("describe", "--tags", "--always") + ("-dirty" if self.lookup("dirty") else "")
        if name == "tag":
            tags = self.tags()
            return tags[0] if tags else Absent("`git.tag` is not defined: no tag points at this commit")
        branch = self._run("branch", "--show-current")
        return branch or Absent("`git.branch` is not defined: no branch is checked out (detached HEAD)")

    def _run(self, *arguments: str) -> str:
        import subprocess

        try:
            done = subprocess.run(
                [*_SAFE, *arguments],
                cwd=self._folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
                text=True,
                errors="replace",
            )
        except FileNotFoundError:
            raise TemplateFault(
                "the git command is not installed", "install git, or pass the value with --set"
            ) from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise TemplateFault(f"git did not answer: {error}", "pass the value with --set") from None
        if done.returncode:
            raise _fault(done.stderr, self._folder)
        return done.stdout.strip()


def _precedence(tag: str) -> Order:
    """Order by SemVer, as git does not: to it v1.0.0-rc.1 comes after v1.0.0. What is no version comes before all."""
    try:
        return Version.parse(tag).order
    except Invalid:
        return ()


def _fault(said: str, folder: Path) -> TemplateFault:
    if "not a git repository" in said:
        return TemplateFault(f"{folder} is not in a git repository", "run `git init`, or pass the value with --set")
    unborn = (
        "Needed a single revision",
        "bad revision 'HEAD'",
        "malformed object name",
        "Not a valid object name HEAD",
    )
    if any(words in said for words in unborn):
        return TemplateFault("the git repository has no commit yet", "commit first, or pass the value with --set")
    lines = said.strip().splitlines() or ["no reason given"]
    return TemplateFault(f"git failed: {lines[0].removeprefix('fatal: ')}", "pass the value with --set")
