"""Everything about a build from one walk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from declarative.errors import Denied, Invalid, NotFound
from declarative.manifest.context.build_inputs import LARGEST, build_inputs

if TYPE_CHECKING:
    from pathlib import Path


def test_a_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG V=3\nFROM alpine:$V\nCOPY --link app /\n")
    (tmp_path / "app").touch()
    found = build_inputs(str(tmp_path), dockerfile=str(tmp_path / "Dockerfile"), shown="Dockerfile", args={"V": "edge"})
    assert found.problems == ()
    assert found.bases == ("alpine:edge",)
    assert found.needs_buildkit == ("Dockerfile:3: COPY --link",)
    assert set(found.parts) == {"dockerfile", "context", "context/Dockerfile", "context/app", "args"}


def test_an_ignored_source_is_said_before_the_build(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("*.env\n")
    (tmp_path / "prod.env").touch()
    found = build_inputs(str(tmp_path), inline="FROM a\nCOPY prod.env /\n")
    (problem,) = found.problems
    assert str(problem) == (
        "COPY prod.env: prod.env is excluded by .dockerignore (pattern '*.env')"
        " — add !prod.env to it, or copy something else (dockerfile_inline:2)"
    )


def test_inline_and_file_give_one_key(tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    context = str(tmp_path / "context")
    assert (
        build_inputs(context, inline="FROM a\n").parts
        == build_inputs(context, dockerfile=str(tmp_path / "Dockerfile")).parts
    )


def test_dockerfiles_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file"):
        build_inputs(str(tmp_path), dockerfile=str(tmp_path / "no"))
    with pytest.raises(Denied, match="is a directory"):
        build_inputs(str(tmp_path), dockerfile=str(tmp_path))
    (tmp_path / "big").write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(Invalid, match="larger than 4 MiB"):
        build_inputs(str(tmp_path), dockerfile=str(tmp_path / "big"))
