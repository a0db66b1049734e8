"""Golden folders: what good manifests become, and what is said about bad ones, word for word.

`tests/cases/manifests/good/NAME` holds a stack and `desired.json`; `bad/NAME` a stack and `error.txt`. With GOLDEN=write in the
environment the expectations are written anew, to be read in the difference.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from declarative.core.resources import NOWHERE
from declarative.core.secret import Secret
from declarative.errors import InvalidManifest
from declarative.manifest.decode_tree import Tree
from declarative.manifest.load import Loaded, LoadOptions, load_stack
from declarative.record import defaults_of

CASES = Path(__file__).parents[2] / "cases" / "manifests"
ENVIRON = {"GIVEN": "given-text", "LC_ALL": "C"}


def load(folder: Path) -> Loaded:
    options = LoadOptions(working_folder=folder, environ=ENVIRON, home="/home/somebody", stack="", stdin=io.BytesIO())
    return load_stack(sorted(file.name for file in folder.glob("stack*.yaml*")), options)


def compare(expected: Path, text: str) -> None:
    if os.environ.get("GOLDEN") == "write":
        expected.write_text(text, encoding="utf-8")
    assert expected.is_file(), f"no {expected.name}; write it with GOLDEN=write and read it"
    assert text == expected.read_text(encoding="utf-8")


def brief(value: Any, folder: Path) -> Any:
    """Give a value as JSON data: what is a default is left out, paths are relative to the case."""
    if isinstance(value, Secret):
        return {"secret": len(value.reveal())}
    if hasattr(value, "__fields__"):
        fields = {name: getattr(value, name) for name in value.__fields__ if name != "places"}
        unset = defaults_of(type(value))
        return {name: _parts(name, found, folder) for name, found in fields.items() if found != unset.get(name, ...)}
    if isinstance(value, Mapping):
        return {name: brief(found, folder) for name, found in value.items()}
    if isinstance(value, tuple):
        return [brief(found, folder) for found in value]
    if isinstance(value, bytes):
        return value.decode()
    return value.replace(str(folder), ".") if isinstance(value, str) else value


def _parts(name: str, value: Any, folder: Path) -> Any:
    """Digests of a context depend on the umask of the checkout; which there are does not."""
    return sorted(value) if name == "parts" else brief(value, folder)


@pytest.mark.parametrize("name", sorted(path.name for path in (CASES / "bad").iterdir()))
def test_every_problem_of_a_bad_manifest_is_reported_with_its_place(name: str) -> None:
    folder = CASES / "bad" / name
    with pytest.raises(InvalidManifest) as caught:
        load(folder)
    compare(folder / "error.txt", str(caught.value).replace(str(folder), "FOLDER") + "\n")
    assert all(problem.span is not None or name == "binary" for problem in caught.value.problems)


@pytest.mark.parametrize("name", sorted(path.name for path in (CASES / "good").iterdir()))
def test_a_good_manifest_becomes_what_is_expected(name: str) -> None:
    folder = CASES / "good" / name
    desired = load(folder).desired
    compare(folder / "desired.json", json.dumps(brief(desired, folder), indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("name", sorted(path.name for path in (CASES / "good").iterdir()))
def test_every_resource_knows_where_it_stands(name: str) -> None:
    desired = load(CASES / "good" / name).desired
    for container in desired.containers.values():
        assert isinstance(container.places, Tree)
        assert container.places.at("spec.image").startswith("stack")
    for network in desired.networks.values():
        assert isinstance(network.places, Tree) or network.places is NOWHERE
