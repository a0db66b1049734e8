"""What the tool reads in a Dockerfile: stages, bases, sources, features, mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from declarative.manifest.context.dockerfile import Dockerfile, read_dockerfile
from declarative.manifest.context.dockerignore import ignore_lines
from declarative.manifest.context.sources import source_problems
from declarative.manifest.context.walk import walk
from tests.shared_cases import load_cases

if TYPE_CHECKING:
    from pathlib import Path

PARSER: dict[str, Any] = load_cases("dockerfile/parser.json")
GOLDEN: dict[str, Any] = load_cases("dockerfile/golden-builds.json")


def read(text: str, **rest: Any) -> Dockerfile:
    return read_dockerfile(text.encode(), **rest)


def said(dockerfile: Dockerfile) -> list[str]:
    return [str(problem) for problem in dockerfile.problems]


MULTI = """\
# syntax=docker/dockerfile:1
ARG VERSION=3.19
ARG REGISTRY
FROM ${REGISTRY:-docker.io}/alpine:$VERSION AS Build
ARG VERSION
ENV HOME_DIR=/src/$VERSION
COPY app-$VERSION ./lib /out/
RUN --mount=type=bind,source=tools,target=/t --mount=from=golang:1.22,target=/go make
FROM build AS test
RUN ./test
FROM busybox AS unused
COPY nowhere /
FROM scratch
COPY --from=build /out /
COPY --from=nginx:1.25 /etc/nginx /etc/nginx
COPY --from=0 /x /
"""


def test_stages_bases_and_sources() -> None:
    found = read(MULTI)
    assert said(found) == []
    assert [(stage.name, stage.base, stage.line) for stage in found.stages] == [
        ("build", "docker.io/alpine:3.19", 4),
        ("test", "build", 9),
        ("unused", "busybox", 11),
        ("", "scratch", 13),
    ]
    assert [stage.index for stage in found.needed] == [0, 3]
    assert found.bases == ("docker.io/alpine:3.19", "golang:1.22", "nginx:1.25")
    assert [(each.what, each.path, each.line) for each in found.stages[0].taken] == [
        ("COPY", "app-3.19", 7),
        ("COPY", "./lib", 7),
        ("RUN --mount", "tools", 8),
    ]
    assert found.needs_buildkit == ("Dockerfile:8: RUN --mount",)


def test_arguments_and_target_decide() -> None:
    found = read(MULTI, args={"VERSION": "edge", "REGISTRY": "r:5000"}, target="TEST")
    assert found.bases == ("r:5000/alpine:edge", "golang:1.22")
    assert [stage.name for stage in found.needed] == ["build", "test"]
    assert found.stages[0].taken[0].path == "app-edge"
    assert [stage.index for stage in read(MULTI, target="2").needed] == [2]


def test_a_target_that_is_not_there() -> None:
    assert said(read(MULTI, target="tset")) == [
        "Dockerfile: has no stage 'tset' to build — did you mean `test`? (Dockerfile)"
    ]


def test_every_mistake_is_reported_with_its_line() -> None:
    text = "RUN early\nFROM a\nCOPPY x /\nWORKDIR\nCOPY --form=b x /\nONBUILD FROM x\nFROM a b\nSHELL sh\n"
    assert said(read(text, file="app/Dockerfile")) == [
        "app/Dockerfile: unknown instruction: COPPY — did you mean `COPY`? (app/Dockerfile:3)",
        "app/Dockerfile: WORKDIR requires exactly one argument — add what is missing (app/Dockerfile:4)",
        "app/Dockerfile: unknown flag: --form — did you mean `from`? (app/Dockerfile:5)",
        "app/Dockerfile: FROM isn't allowed as an ONBUILD trigger — remove it (app/Dockerfile:6)",
        (
            "app/Dockerfile: FROM requires either one or three arguments — "
            "write FROM image, or FROM image AS name (app/Dockerfile:7)"
        ),
        'app/Dockerfile: SHELL requires the arguments to be in JSON form — write SHELL ["/bin/sh", "-c"] (app/Dockerfile:8)',
        "app/Dockerfile: RUN comes before the first FROM — only ARG may; move it below (app/Dockerfile:1)",
    ]


@pytest.mark.parametrize("case", PARSER["instruction_errors"], ids=lambda case: case["dockerfile"][:30])
def test_instruction_errors(case: dict[str, str]) -> None:
    found = read("FROM scratch\n" + case["dockerfile"])
    assert case["error"] in "\n".join(said(found))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no instructions"),
        ("ARG x", "has no FROM"),
        ("FROM $nothing", r"base name \(\$nothing\) should not be blank"),
        ("FROM ${a:?needed}", "a: needed"),
        ("FROM x AS 1a", "invalid name for build stage: '1a'"),
        ("FROM x\nCOPY --from=$y a b", "variable expansion is not supported for from"),
        ("FROM x\nCOPY --from=3 a b", "there is no stage 3 before this one"),
        ("FROM x\nCOPY 'a b", "quote"),
    ],
)
def test_what_cannot_be_built(text: str, message: str) -> None:
    import re

    assert re.search(message, "\n".join(said(read(text))))


def test_bodies_of_heredocs_are_no_instructions() -> None:
    found = read("FROM a\nRUN <<EOF\nFROM evil\nCOPPY x\nEOF\nCOPY <<-one two.txt /\n\tFROM b\n\tone\n")
    assert said(found) == []
    assert found.bases == ("a",)
    assert [each.path for each in found.stages[0].taken] == ["two.txt"]
    assert found.needs_buildkit == ("Dockerfile:2: RUN <<EOF", "Dockerfile:6: COPY <<one")


def test_what_depends_on_the_base_image_is_not_judged() -> None:
    found = read("FROM python\nENV A=$PYTHON_VERSION\nCOPY $A ${DIR:-src} lib /\n")
    assert [each.path for each in found.stages[0].taken] == ["lib"]
    whole = read("FROM scratch AS s\nENV A=x\nARG D=z\nFROM s\nARG B=y\nCOPY $A$B$C$D /\n")
    assert [each.path for each in whole.stages[1].taken] == ["xyz"]


def test_what_depends_on_the_platform() -> None:
    text = "ARG BASE=img-$TARGETARCH\nFROM --platform=$BUILDPLATFORM $BASE\nARG TARGETARCH\nCOPY bin-$TARGETARCH /\n"
    unknown = read(text)
    assert (said(unknown), unknown.bases, unknown.stages[0].taken) == ([], (), ())
    assert unknown.needs_buildkit == (
        "Dockerfile:2: FROM --platform=$BUILDPLATFORM",
        "Dockerfile:3: ARG TARGETARCH",
    )
    known = read(text, platform="linux/arm64/v8")
    assert known.bases == ("img-arm64",)
    assert [each.path for each in known.stages[0].taken] == ["bin-arm64"]


def test_a_foreign_front_end_is_left_alone() -> None:
    found = read("# syntax=example/frontend\nFROMAGE brie\n")
    assert (said(found), found.needs_buildkit) == ([], ("Dockerfile:1: syntax=example/frontend",))


def test_flags_of_a_newer_front_end_are_left_alone() -> None:
    assert said(read("# syntax=docker/dockerfile:99\nFROM a\nRUN --future=1 x\n")) == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("RUN --network=none x", "RUN --network"),
        ("RUN --security=insecure x", "RUN --security"),
        ("COPY --link a b", "COPY --link"),
        ("COPY --chmod=755 a b", "COPY --chmod"),
        ("COPY --exclude=*.md a b", "COPY --exclude"),
        ("ADD --checksum=sha256:x http://a/b /", "ADD --checksum"),
        ("ADD https://example.org/a.git#main /", "ADD of a git repository"),
        ("HEALTHCHECK --start-interval=1s CMD x", "HEALTHCHECK --start-interval"),
        ("ENV A=${B#x}", "ENV with a variable's modifier"),
        ("FROM --platform=$BUILDPLATFORM b", "FROM --platform=$BUILDPLATFORM"),
    ],
)
def test_features_that_need_buildkit(line: str, what: str) -> None:
    assert read(f"FROM a\n{line}\n").needs_buildkit == (f"Dockerfile:2: {what}",)


@pytest.mark.parametrize(
    "line",
    [
        "COPY --chown=1 a b",
        "ADD https://a/b.tar /",
        "RUN x ${y#z}",
        "ENV A=${B:-c}",
        "ARG a=1 b",
        "ONBUILD RUN --mount=type=tmpfs x",
    ],
)
def test_features_that_the_classic_builder_has(line: str) -> None:
    assert read(f"# syntax=docker/dockerfile:1\nFROM --platform=linux/amd64 a\n{line}\n").needs_buildkit == ()


def sources(root: Path, text: str, *ignored: str) -> list[str]:
    return [str(each) for each in source_problems(read(text), str(root), walk(str(root), ignored), ignored)]


def test_sources_that_are_missing_or_ignored(tmp_path: Path) -> None:
    for name in ("src/main.py", "secrets/key", "requirements.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = "FROM a\nCOPY requirement.txt src/ /\nCOPY secrets/key .\nADD *.no [x]y http://a/b ./ /\nCOPY . /\nCOPY deep/x /\n"
    assert sources(tmp_path, text, "*.log", "secrets", "!x") == [
        "COPY requirement.txt: requirement.txt is not in the build context — did you mean `requirements.txt`? (Dockerfile:2)",
        (
            "COPY secrets/key: secrets/key is excluded by .dockerignore (pattern 'secrets') — "
            "add !secrets/key to it, or copy something else (Dockerfile:3)"
        ),
        (
            "COPY deep/x: deep/x is not in the build context — "
            "create it, or mend the path: it counts from the context's root (Dockerfile:6)"
        ),
    ]


def test_sources_behind_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "folder").symlink_to("real")
    (tmp_path / "link").symlink_to("/real/file")
    (tmp_path / "dead").symlink_to("gone")
    assert sources(tmp_path, "FROM a\nCOPY folder/file link ../../real/file /\n") == []
    assert len(sources(tmp_path, "FROM a\nCOPY link /\n", "real/file")) == 1
    assert "gone is not in the build context" in sources(tmp_path, "FROM a\nCOPY dead /\n")[0]


def test_only_the_stages_that_are_built_are_checked(tmp_path: Path) -> None:
    assert sources(tmp_path, "FROM a AS x\nCOPY no /\nFROM b\nRUN y\n") == []


def test_paths_that_leave_the_context_stay_at_its_root(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert sources(tmp_path, "FROM x\nCOPY ../../a /../a /\n") == []


def plant(root: Path, context: list[dict[str, Any]]) -> None:
    for entry in context:
        path = root / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry["type"] == "dir":
            path.mkdir(exist_ok=True)
        elif entry["type"] == "symlink":
            path.symlink_to(entry["link"])
        else:
            path.write_text(entry.get("content", ""))


def outcome(case: dict[str, Any], root: Path) -> tuple[list[str], tuple[str, ...]]:
    """Give the problems and the features of one golden build."""
    plant(root, case["context"])
    found = read_dockerfile(
        case["dockerfile"].encode(),
        args={name: value or "" for name, value in case.get("build_args", {}).items()},
        target=case.get("target", ""),
        platform="linux/amd64",
    )
    ignored = ignore_lines(str(root), str(root / "Dockerfile"))
    problems = found.problems or source_problems(found, str(root), walk(str(root), ignored), ignored)
    return [str(problem) for problem in problems], found.needs_buildkit


def classic(case: dict[str, Any]) -> bool:
    return bool((case["buildkit"] if case["classic"] == "same" else case["classic"])["ok"])


# Built by the classic builder, too, but with the platform's variables left empty: refused without BuildKit on purpose.
OTHER_IMAGE = {
    "buildah/multistage-builtin-args",
    "buildah/buildin-args",
    "buildkit/testMultiPlatformProvenance#1",
}
# What only the builder can find out: exit codes, files of other stages, values of flags, references.
FOUND_BY_BUILDERS = {
    "buildah/copy--parents-all-directories",
    "buildah/copy--parents-directory-limit-parents-unknown-count-parent-directories",
    "buildkit/testAddInvalidChmod#1",
    "buildkit/testAddInvalidChmod#2",
    "buildkit/testCopyInvalidChmod#1",
    "buildkit/testDockerfileInvalidCommand#1",
    "buildkit/testInvalidDefaultArgInFrom#3",
    "buildkit/testLocalCustomSessionID#1",
    "buildkit/testMountInvalid#2",
    "moby/TestBuildContextCleanupFailedBuild#1",
    "moby/TestBuildEmptyStringVolume#1",
    "moby/TestBuildFails#1",
    "moby/TestBuildMultiStageImplicitFrom#1",
    "moby/TestBuildNoNamedVolume#1",
    "moby/TestBuildWithFailure#1",
}
# Accidents of the classic builder: no image without a layer, a pattern that matches nothing, stages of one name.
CLASSIC_ACCIDENTS = ("No image was generated", "no source files were specified", "stage name already used")
OTHER_ACCIDENTS = {"buildah/copy-integration1", "buildkit/testTarExporterMulti#1"}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=[case["id"] for case in GOLDEN["cases"]])
def test_a_golden_build_is_judged_as_the_builders_did(tmp_path: Path, case: dict[str, Any]) -> None:
    problems, features = outcome(case, tmp_path)
    if case["buildkit"]["ok"] or classic(case):
        assert problems == []
    elif case["id"] not in FOUND_BY_BUILDERS:
        assert problems != []
    if classic(case):
        assert bool(features) is (case["id"] in OTHER_IMAGE)
    elif case["buildkit"]["ok"] and case["id"] not in OTHER_ACCIDENTS:
        assert features or any(text in case["classic"]["error"] for text in CLASSIC_ACCIDENTS)
