"""`.dockerignore` patterns against moby's own cases."""

from __future__ import annotations

from typing import Any

import pytest

from declarative.errors import Invalid
from declarative.oci.dockerfile.patterns import PatternSet, _translate, read_ignore_file
from tests.shared_cases import load_cases

CASES: dict[str, Any] = load_cases("dockerignore/patternmatcher.json")


def in_a_walk(patterns: PatternSet, path: str) -> bool:
    """Match as a walk does: folder by folder, each with what its parent gave."""
    parts = path.split("/")
    verdict = False
    inherited: tuple[bool, ...] = ()
    for depth in range(1, len(parts) + 1):
        verdict, inherited = patterns.matches_below("/".join(parts[:depth]), inherited)
    return verdict


def test_matching_in_a_walk_gives_what_matching_whole_paths_gives() -> None:
    for group in ("matches", "matches_multi", "matches_functions"):
        for case in CASES[group]:
            path = case["path"].strip("/")
            if path and "//" not in path:
                patterns = PatternSet(case["patterns"])
                assert in_a_walk(patterns, path) is patterns.matches(path), case


@pytest.mark.parametrize("group", ["matches", "matches_multi", "matches_posix_only", "matches_functions"])
def test_paths_match_as_docker_matches_them(group: str) -> None:
    wrong = [
        case for case in CASES[group] if PatternSet(case["patterns"]).matches(case["path"]) is not case["expected"]
    ]
    assert wrong == []
    assert len(CASES[group]) > 0


def test_go_patterns() -> None:
    """As patternmatcher runs them: `a*` matches ab/c, because it matches the folder ab."""
    for case in CASES["go_filepath_match"]:
        if case["error"]:
            with pytest.raises(Invalid):
                PatternSet([case["pattern"]])
        else:
            assert PatternSet([case["pattern"]]).matches(case["path"]) is case["expected"], case


def test_kinds() -> None:
    for case in CASES["compile"]:
        kind, _ = _translate(case["pattern"])
        assert f"{kind}Match" == case["match_type"], case


def test_refused_patterns() -> None:
    for case in CASES["errors"]:
        with pytest.raises(Invalid):
            PatternSet(case["patterns"])


def test_patterns_are_cleaned() -> None:
    for case in CASES["clean_patterns"]:
        patterns = PatternSet(case["in"])
        if "out" in case:
            assert [pattern.text for pattern in patterns.patterns] == case["out"]
        if "exclusions" in case:
            assert patterns.negated is case["exclusions"]


def test_ignore_files() -> None:
    for case in CASES["ignorefile"]:
        assert list(read_ignore_file(case["content"].encode())) == case["expected"]


def test_ignore_file_with_bom_and_dos_line_ends() -> None:
    assert read_ignore_file(b"\xef\xbb\xbfnode_modules\r\n #kept\r\n# gone\r\n!a/../b\r\n") == (
        "node_modules",
        "#kept",
        "!b",
    )


def test_classes_with_characters_that_python_would_take_for_set_operations() -> None:
    assert PatternSet(["a[[&&|~]b"]).matches("a&b")
    assert PatternSet(["a[[&&|~]b"]).matches("a[b")
    assert not PatternSet(["a[[&&|~]b"]).matches("axb")


def test_a_newline_at_the_end_of_a_name_is_part_of_it() -> None:
    assert not PatternSet(["a?"]).matches("ab\n")
    assert not PatternSet(["*/x"]).matches("a/x\n")
