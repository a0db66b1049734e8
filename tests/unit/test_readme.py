"""What the README says is so: its manifests load, its commands parse, the files it names are there.

The rule that keeps it simple: the README is read as Markdown's fences and backquotes, and judged by the program's own loader and
parsers. Manifests under "The kinds" are one stack; any other block of YAML is one by itself.
"""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from declarative.cli.main import load
from declarative.cli.options import Parser, hoist
from declarative.cli.verbs import VERBS
from declarative.manifest.load import Loaded, LoadOptions, load_stack
from tests import base_image

_ROOT = Path(__file__).parents[2]
_README = (_ROOT / "README.md").read_text()
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_KINDS = "\n## The kinds\n"


def _blocks(language: str, text: str = _README) -> list[str]:
    return [found["text"] for found in _FENCE.finditer(text) if found["language"] == language]


def _section(heading: str) -> str:
    return _README.partition(heading)[2].partition("\n## ")[0]


def _commands() -> list[str]:
    """Give what stands in blocks of shell and between backquotes and begins with the program's name."""
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    prose = _FENCE.sub("", _README)
    lines += re.findall(r"`(declarative [^`]+)`", prose)
    return sorted({line for line in lines if line.startswith("declarative ")})


def _load(text: str, folder: Path) -> Loaded:
    (folder / "stack.yaml").write_text(text)
    options = LoadOptions(working_folder=folder, environ={"DB_PASSWORD": "open-sesame"}, home=str(folder))
    return load_stack(["stack.yaml"], options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the files that the README's manifests name."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text("FROM shop/base AS runtime\n")
    for name in ("rootfs.tar", "motd", "token.txt"):
        (tmp_path / name).write_text("something\n")
    (tmp_path / "vendor.tar").write_bytes(base_image.archive())
    return tmp_path


def test_the_kinds_together_are_a_valid_stack(folder: Path) -> None:
    blocks = _blocks("yaml", _section(_KINDS))
    loaded = _load("---\n".join(blocks), folder)
    assert loaded.warnings == ()
    kinds = {str(document.root.items["kind"].value) for document in loaded.documents}  # type: ignore[union-attr]
    assert kinds == {"Stack", "Image", "TagScheme", "Container", "Job", "Network", "Volume"}


def test_any_other_manifest_is_valid_by_itself(folder: Path) -> None:
    blocks = _blocks("yaml", _README.replace(_section(_KINDS), ""))
    assert blocks
    for block in blocks:
        assert _load(block, folder).warnings == ()


@pytest.mark.parametrize("command", _commands())
def test_a_command_is_one_that_the_program_takes(command: str) -> None:
    words = shlex.split(re.split(r" [|>] |\s+#", command)[0])[1:]
    verb, rest = hoist(words)
    if verb == "help":
        return
    assert verb in VERBS
    module = load(verb)
    parser = Parser(prog=f"declarative {verb}")
    module.add_arguments(parser)
    parser.parse_args(rest)


def test_commands_are_found() -> None:
    assert len(_commands()) > 25


def test_what_it_names_is_there() -> None:
    named = set(re.findall(r"`((?:declarative|examples|tests|schemas)/[\w./-]*|\w+\.md)", _README))
    named |= {target for target in re.findall(r"\]\(([^)#]+)\)", _README) if "://" not in target}
    assert len(named) > 15
    assert [name for name in sorted(named) if not (_ROOT / name).exists()] == []


def test_every_option_that_prose_names_exists() -> None:
    known = {"--help", "--version"}
    for verb in VERBS:
        parser = Parser(prog=verb)
        load(verb).add_arguments(parser)
        known |= _options(parser)
    neighbours = re.compile(r"^## Compared.*?^## Install", re.MULTILINE | re.DOTALL)
    prose = re.findall(r"`([^`]+)`", neighbours.sub("", _FENCE.sub("", _README)))
    named = {
        option for text in prose for option in re.findall(r"(?<!\S)--[a-z-]+", text) if not text.startswith("RUN ")
    }
    assert sorted(named - known) == []


def _options(parser: argparse.ArgumentParser) -> set[str]:
    found: set[str] = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found |= {option for below in action.choices.values() for option in _options(below)}
    return found
