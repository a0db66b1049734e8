"""Laws of contexts and Dockerfiles: whatever comes in, a clear answer comes out, and content is all that counts."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from declarative.errors import Invalid
from declarative.manifest.context.content_key import content_parts
from declarative.manifest.context.dockerfile import read_dockerfile
from declarative.manifest.context.tarball import tar_stream
from declarative.manifest.context.walk import walk
from declarative.oci.dockerfile.expand import expand
from declarative.oci.dockerfile.lexer import lex
from declarative.oci.dockerfile.patterns import PatternSet

WORDS = st.sampled_from(
    [
        "FROM a",
        "FROM a AS b",
        "RUN x \\",
        "# c",
        "COPY --from=b x /",
        "RUN <<EOF",
        "EOF",
        "ARG A=${B:-c}",
        "ENV A=$A",
        "",
        "FROM $A",
        "ONBUILD RUN y",
        'CMD ["x"]',
        "COPY a",
        "  ",
        "RUN --mount=from=b z",
        "\t\\",
        "ADD http://x /",
        "ENV",
    ]
)
TEXTS = st.one_of(st.binary(max_size=80), st.lists(WORDS, max_size=12).map(lambda lines: "\n".join(lines).encode()))
NAMES = st.sampled_from(["a", "b", "a.log", "dir", "é", os.fsdecode(b"\xff"), "x y"])
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=600), max_size=6)
PATTERNS = st.lists(
    st.sampled_from(["*", "**", "a", "!a", "dir", "!dir/a", "*.log", "**/b", "!**/b", "dir/*", "é"]), max_size=4
)


def plant(root: str, tree: dict[str, bytes]) -> None:
    for path, content in tree.items():
        file = Path(root, path)
        if any(part.is_file() for part in file.parents) or file.is_dir():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@given(TEXTS)
def test_any_text_is_read_or_refused_with_its_line(text: bytes) -> None:
    found = read_dockerfile(text)
    assert found.problems or found.stages or found.source.syntax
    assert all(problem.text for problem in found.problems)


@given(TEXTS)
def test_lines_of_instructions_rise_and_lie_in_the_text(text: bytes) -> None:
    try:
        source = lex(text)
    except Invalid:
        return
    spans = [(each.line, each.end_line) for each in source.instructions]
    assert all(1 <= line <= end <= text.count(b"\n") + 1 for line, end in spans)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(spans))


@given(st.text(alphabet="ab$\\{}:-+?#%/*'\" ", max_size=20))
def test_any_word_expands_or_is_refused(word: str) -> None:
    with contextlib.suppress(Invalid):
        expand(word, {"a": "x*y", "b": ""})


@given(
    st.lists(st.text(alphabet="ab*?[]^-!/\\.", max_size=8), max_size=3),
    st.text(alphabet="ab/.", min_size=1, max_size=8),
)
def test_any_pattern_matches_or_is_refused(lines: list[str], path: str) -> None:
    with contextlib.suppress(Invalid):
        PatternSet(lines).matches(path)


@settings(max_examples=50)
@given(TREES, PATTERNS)
def test_a_walk_sends_what_the_patterns_leave_and_its_folders(tree: dict[str, bytes], lines: list[str]) -> None:
    # where a pattern comes after an exception, Docker's walk and its rule for one path differ (`PatternSet.matches_below`)
    lines = sorted(lines, key=lambda line: line.startswith("!"))
    with tempfile.TemporaryDirectory() as root:
        plant(root, tree)
        everything = {entry.path: entry for entry in walk(root)}
        sent = [entry.path for entry in walk(root, lines)]
        patterns = PatternSet(lines)
        files = {path for path, entry in everything.items() if entry.kind == "file"}
        assert {path for path in sent if path in files} == {path for path in files if not patterns.matches(path)}
        for path in sent:
            assert all("/".join(path.split("/")[:depth]) in sent for depth in range(1, path.count("/") + 1))
        assert len(sent) == len(set(sent))


@settings(max_examples=50)
@given(TREES)
def test_a_tar_brings_the_tree_back(tree: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        plant(root, tree)
        entries = list(walk(root))
        data = b"".join(tar_stream(entries))
        with tarfile.open(fileobj=io.BytesIO(data), errorlevel=2) as archive:
            found = {member.name: member for member in archive}
            assert list(found) == [entry.path for entry in entries]
            for entry in entries:
                if entry.kind == "file":
                    file = archive.extractfile(found[entry.path])
                    assert file is not None
                    assert file.read() == Path(entry.source).read_bytes()


@settings(max_examples=50)
@given(TREES, TREES)
def test_keys_are_equal_exactly_when_trees_are(one: dict[str, bytes], two: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        plant(first, one)
        plant(second, two)
        keys = [content_parts(dockerfile=b"", context=walk(root)) for root in (first, second)]
        trees = [
            [
                (entry.path, entry.kind, Path(entry.source).read_bytes() if entry.kind == "file" else b"")
                for entry in walk(root)
            ]
            for root in (first, second)
        ]
        assert (keys[0] == keys[1]) is (trees[0] == trees[1])
