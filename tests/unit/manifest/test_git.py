"""What templates see of a real git repository, and what they are told where there is none."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.manifest.git import Git
from declarative.manifest.scope import Absent, TemplateFault

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
ENVIRON = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", **IDENTITY}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, env=ENVIRON, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "file").write_text("one\n")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_repository_answers(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    asked = Git(repository, ENVIRON)
    assert asked.lookup("commit") == commit
    assert asked.lookup("branch") == "main"
    assert asked.lookup("dirty") is False
    assert asked.lookup("describe") == commit[:7]
    tag = asked.lookup("tag")
    assert isinstance(tag, Absent)
    assert tag.why == "`git.tag` is not defined: no tag points at this commit"


@pytest.mark.parametrize(
    ("tags", "highest"),
    [
        (["v1.9.0", "v1.10.0"], "v1.10.0"),
        (["v1.10.0", "v1.10.0-rc.1"], "v1.10.0"),
        (["v1.10.0-rc.2", "v1.10.0-rc.10"], "v1.10.0-rc.10"),
        (["v1.10.0", "zebra", "deployed-2"], "v1.10.0"),
        (["deployed-9", "deployed-10"], "deployed-10"),
    ],
)
def test_the_highest_of_several_tags_is_given(repository: Path, tags: list[str], highest: str) -> None:
    for name in tags:
        git(repository, "tag", name)
    assert Git(repository, ENVIRON).lookup("tag") == highest


def test_a_changed_file_makes_it_dirty_and_a_new_one_does_not(repository: Path) -> None:
    (repository / "new").write_text("")
    assert Git(repository, ENVIRON).lookup("dirty") is False
    (repository / "file").write_text("two\n")
    assert Git(repository, ENVIRON).lookup("dirty") is True
    assert str(Git(repository, ENVIRON).lookup("describe")).endswith("-dirty")


def test_a_folder_below_the_repository_answers_too(repository: Path) -> None:
    (repository / "deploy").mkdir()
    assert Git(repository / "deploy", ENVIRON).lookup("branch") == "main"


def test_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    branch = Git(repository, ENVIRON).lookup("branch")
    assert isinstance(branch, Absent)
    assert "detached" in branch.why


def test_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplateFault) as caught:
        Git(tmp_path, {**ENVIRON, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}).lookup("commit")
    assert caught.value.text == f"{tmp_path} is not in a git repository"
    assert "--set" in caught.value.remedy


@pytest.mark.parametrize("name", ["commit", "describe", "tag"])
def test_a_repository_without_a_commit_is_told(tmp_path: Path, name: str) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(TemplateFault) as caught:
        Git(tmp_path, ENVIRON).lookup(name)
    assert caught.value.text == "the git repository has no commit yet"


def test_a_machine_without_git_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplateFault) as caught:
        Git(tmp_path, {"PATH": str(tmp_path)}).lookup("commit")
    assert caught.value.text == "the git command is not installed"


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(TemplateFault):
        Git(tmp_path / "gone", ENVIRON).lookup("commit")


def test_an_unknown_name_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        Git(tmp_path, ENVIRON).lookup("comit")


def test_asking_writes_nothing(repository: Path) -> None:
    index = repository / ".git" / "index"
    os.utime(repository / "file", (1, 1))  # another second, so that git would note it
    before = index.read_bytes()
    asked = Git(repository, ENVIRON)
    for name in asked.names():
        asked.lookup(name)
    assert index.read_bytes() == before


def test_a_repository_cannot_run_its_own_programs(repository: Path) -> None:
    hook = repository / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {repository}/ran\n")
    hook.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(hook))
    assert Git(repository, ENVIRON).lookup("dirty") is False
    assert not (repository / "ran").exists()


def test_each_question_is_asked_once(repository: Path) -> None:
    asked = Git(repository, ENVIRON)
    first = asked.lookup("commit")
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    assert asked.lookup("commit") == first
