"""Completion: the real bash completes from the real script; every shell's script knows every verb and option."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from declarative.cli import completion
from declarative.cli.complete import taken
from declarative.cli.main import load
from declarative.cli.verbs import HIDDEN, VERBS
from declarative.manifest import schema
from tests.cli import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.console import Console

pytestmark = pytest.mark.usefixtures("stack")


@pytest.fixture
def complete(console: Console, tmp_path: Path) -> Callable[[str], list[str]]:
    """Return what the real bash completes the end of a line to."""
    script = tmp_path / "completion.bash"
    script.write_text(console("completion", "bash").out)

    def press_tab(line: str) -> list[str]:
        words = [*shlex.split(line), *([""] if line.endswith(" ") else [])]
        quoted = " ".join(map(shlex.quote, words))
        code = f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _declarative"
        ended = subprocess.run(
            ["bash", "-c", f'{code}; printf "%s\\n" "${{COMPREPLY[@]}}"'],
            check=True, capture_output=True, text=True, cwd=tmp_path,
            env={"PATH": f"{PROGRAM.parent}:{os.defpath}", "HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere.sock"},
        )  # fmt: skip
        assert "error" not in ended.stderr
        return [found for found in ended.stdout.splitlines() if found]

    return press_tab


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("declarative pl", ["plan"]),
        ("declarative -f stack.yaml va", ["validate"]),
        ("declarative plan --targ", ["--target"]),
        ("declarative plan --target Container/", ["Container/side", "Container/web"]),
        ("declarative apply -o ", ["text", "json"]),
        ("declarative apply -f sta", ["stack.yaml"]),
        ("declarative logs we", ["web"]),
        ("declarative logs -f mi", ["migrate"]),
        ("declarative exec web -- l", []),
        ("declarative build ", ["base", "site"]),
        ("declarative tags ", ["release"]),
        ("declarative explain Container.spec.healthcheck.int", ["Container.spec.healthcheck.interval"]),
        ("declarative explain Tag", ["TagScheme"]),
        ("declarative schema pl", ["plan"]),
        ("declarative completion ", ["bash", "zsh", "fish"]),
        ("declarative engine st", ["status", "start", "stop"]),
        ("declarative rollout ", ["undo"]),
        ("declarative rollout undo --t", ["--target", "--timeout", "--to"]),
        ("declarative plan --stack ", []),  # the engine is not there, and that is silent
        ("declarative nonsense ", [*VERBS, "--help", "--version"]),
    ],
)
def test_bash(line: str, found: list[str], complete: Callable[[str], list[str]]) -> None:
    assert complete(line) == found


def test_names_come_from_the_manifest_that_the_line_names(
    complete: Callable[[str], list[str]], stack: Path, tmp_path: Path
) -> None:
    stack.rename(tmp_path / "other.yaml")
    assert complete("declarative logs ") == []
    assert complete("declarative logs -f other.yaml w") == ["web"]
    assert complete("declarative plan --file=other.yaml --target Net") == ["Network/front"]
    (tmp_path / "other.yaml").write_text("kind: [")
    assert complete("declarative logs -f other.yaml w") == []


def test_an_unfinished_line_is_understood() -> None:
    args = taken(["plan", "-f", "a.yaml", "--file=b.yaml", "--set", "x=1", "--stack", "s", "--target", "Con"])
    assert (args.files, args.set, args.stack) == (["a.yaml", "b.yaml"], ["x=1"], "s")
    assert taken(["plan", "-f", "half"]).files == [""]
    assert taken(["logs", "-f", "web", ""]).files == []
    assert taken(["plan", "--file", "=", "c.yaml", ""]).files == ["c.yaml"]  # as bash splits it
    assert taken([]).files == []


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_every_script_knows_every_verb_and_option(shell: str, console: Console) -> None:
    script = console("completion", shell).out
    found = completion.verbs()
    assert [verb.name for verb in found] == list(VERBS)
    for verb in found:
        assert verb.name in script
        for option in verb.options:
            for flag in option.flags:
                shown = f"-l {flag[2:]}" if shell == "fish" and flag.startswith("--") else flag
                assert shown in script or f"-s {flag[1:]}" in script, (verb.name, flag)
    assert "__complete" in script


def test_every_verb_has_its_file_and_its_words() -> None:
    for verb in [*VERBS, *HIDDEN.values()]:
        module = load(verb)
        assert module.HELP
        assert callable(module.add_arguments)
        assert callable(module.run)


def test_every_verb_that_prints_json_has_a_published_schema() -> None:
    printed = {"apply": "report", "destroy": "report", "rollout": "report", "build": "report"}
    for verb in completion.verbs():
        takes = any("-o" in option.flags for option in verb.options) and verb.name != "exec"  # which refuses it
        assert not takes or printed.get(verb.name, verb.name) in schema.names(), verb.name


@pytest.mark.parametrize("kind", ["fields", "schemas", "targets", "containers", "images", "schemes"])
def test_what_is_asked_for_is_answered_one_a_line(kind: str, console: Console) -> None:
    ran = console("__complete", kind, "plan", "")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == list(dict.fromkeys(ran.out.splitlines()))
    assert ran.out
    if kind == "schemas":
        assert ran.out.split() == schema.names()


def test_the_hidden_verb_is_hidden(console: Console, complete: Callable[[str], list[str]]) -> None:
    assert "__complete" not in VERBS
    assert complete("declarative __") == []
    assert console("__complete", "nonsense").code == 64
