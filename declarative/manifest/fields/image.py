"""The fields of an Image: exactly one source, and the names it shall be known by."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from declarative.core.resources import ArchiveSource, BuildSource, Image, ImageSpec, PullSource, RootfsSource
from declarative.errors import Invalid
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_collections import ByShape, ListOf, MapOf, Pairs
from declarative.manifest.decode_scalars import Boolean, Enum, Text
from declarative.manifest.decode_secrets import FilePath, PlainValue, secret_source
from declarative.manifest.fields.table import LABELS, Head, Table
from declarative.oci.reference import DEFAULT_TAG, Reference

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping

SOURCES = ("build", "pull", "rootfs", "archive")


@lru_cache(maxsize=4096)
def image_reference(text: str) -> str:
    """Give a reference as docker prints it, with `latest` where it has neither tag nor digest; raises Invalid."""
    reference = Reference.parse(text)
    if reference.tag is None and reference.digest is None:
        reference = reference.with_tag(DEFAULT_TAG)
    return reference.familiar()


@lru_cache(maxsize=1024)
def image_repository(text: str) -> str:
    """Give a repository as docker prints it; raises Invalid where there is a tag or digest."""
    reference = Reference.parse(text)
    if reference.tag is not None or reference.digest is not None:
        raise Invalid(f"`{text}`", "has a tag or digest", "write the repository alone, tags stand under tags")
    return reference.repository


REPOSITORY = Text("a repository", clean=image_repository)
PLATFORM = Text(
    "a platform",
    pattern=r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9]+)?",
    says="write OS/ARCHITECTURE[/VARIANT], as in linux/arm64",
)
TAG = Text(
    "a tag",
    pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}",
    says="up to 128 of A-Z a-z 0-9 _ . -, and no . or - at its beginning",
    number=True,
)


def _build(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    if "dockerfile" in values and "dockerfile_inline" in values:
        return reading.complain(node.keys["dockerfile_inline"], "stands beside dockerfile", "remove one of the two")
    # A Dockerfile is found in the context, and read when the digests are computed (resolve).
    return BuildSource(**{"dockerfile": "", **values})


_BUILD = Record(
    "a build",
    (
        Field(
            name="context",
            type=FilePath("a folder"),
            doc="Folder whose files the build may copy, less what .dockerignore leaves out.",
            example="./app",
            required=True,
        ),
        Field(
            name="dockerfile",
            type=Text("a path"),
            doc="Path of the Dockerfile, from the context.",
            example="docker/app.Dockerfile",
            default="Dockerfile",
        ),
        Field(
            name="dockerfile_inline",
            type=Text("the text of a Dockerfile"),
            doc="The Dockerfile itself.",
            example="FROM alpine:3.20\n",
        ),
        Field(
            name="target",
            type=Text("the name of a stage", number=True),
            doc="Stage to build.",
            example="runtime",
            default="the last one",
        ),
        Field(
            name="args",
            type=Pairs(PlainValue(), "arguments, as a map or a list of NAME=VALUE"),
            doc="Build arguments.",
            example={"VERSION": "1.9.2"},
        ),
        Field(
            name="secrets",
            type=MapOf(secret_source(strip=False), "secrets by id", keys=r"[A-Za-z0-9_.-]+", says="write an id"),
            doc="Secrets for RUN --mount=type=secret, by id: {env: NAME} or {file: PATH}. Needs BuildKit.",
            example={"token": {"env": "HOME"}},
        ),
        Field(
            name="network", type=Text("a network mode"), doc="Network of RUN steps.", example="host", default="default"
        ),
        Field(
            name="platform", type=PLATFORM, doc="Platform to build for.", example="linux/amd64", default="the engine's"
        ),
        Field(name="labels", type=LABELS, doc="Labels put on the image.", example={"com.example.team": "shop"}),
        Field(
            name="no_cache",
            type=Boolean(),
            doc="When a build is needed, do not use the layer cache.",
            example=False,
            default="false",
        ),
    ),
    _build,
    {"cache_from": "unchanged builds are not run at all; remove it", "tags": "tags stand in the spec, beside build"},
)

_ARCHIVE = Record(
    "an archive",
    (
        Field(
            name="path", type=FilePath(exists="file"), doc="Path of the archive.", example="./app.tar", required=True
        ),
        Field(
            name="reference",
            type=Text("a reference", clean=image_reference),
            doc="Which image, where the archive holds several.",
            example="app:1.9.2",
        ),
    ),
)


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    """Put the one source under "source"."""
    sources = [name for name in SOURCES if name in values]
    if len(sources) != 1:
        if not sources:
            return reading.complain(node, "an image has one source, here is none", f"write one of {', '.join(SOURCES)}")
        text = f"an image has one source, here are {' and '.join(sources)}"
        return reading.complain(node.keys[sources[1]], text, "keep one of them, or write two Images")
    kind, value = sources[0], values.pop(sources[0])
    for name in ("policy", "platform"):
        if name in values and kind != "pull":
            reading.complain(
                node.keys[name],
                "is for images that are pulled",
                f"remove it; a build has {kind}.{name}" if name == "platform" and kind == "build" else "remove it",
            )
    if kind == "build":
        values["source"] = BuildSource(context=value, dockerfile="") if isinstance(value, str) else value
    elif kind == "pull":
        asked = {name: values.pop(name) for name in ("policy", "platform") if name in values}
        values["source"] = PullSource(reference=value, **asked)
    elif kind == "rootfs":
        values["source"] = RootfsSource(path=value, digest="")
    else:
        archive = {"path": value} if isinstance(value, str) else value
        values["source"] = ArchiveSource(image_id="", **archive)
    return values


def _make(head: Head, values: dict[str, Any]) -> Image:
    """Make an Image that `resolve` completes: repository, tags and digests may be empty still."""
    source = values["source"]
    if head.labels and isinstance(source, BuildSource):
        from declarative.record import replace

        source = replace(source, labels={**head.labels, **source.labels})
    spec = ImageSpec(source=source, repository=values.get("repository", ""), tags=values.get("tags", ()))
    return Image(name=head.name, spec=spec, places=head.tree)


IMAGE = Table(
    kind="Image",
    doc="An image: built, pulled, made from a root file system, or loaded from an archive.",
    spec=Record(
        "an image's spec",
        (
            Field(
                name="build",
                type=ByShape(
                    "a folder, or {context, …}",
                    scalar=FilePath("a folder"),
                    mapping=_BUILD,
                ),
                doc="Build it from a Dockerfile. Built again only when what goes into it has changed.",
                example={"context": "./app"},
            ),
            Field(
                name="pull",
                type=Text("an image reference", clean=image_reference),
                doc="Pull it from a registry.",
                example="docker.io/library/nginx:1.27",
            ),
            Field(
                name="policy",
                type=Enum(
                    "missing",
                    "always",
                    "never",
                    instead={
                        "if-not-present": "missing",
                        "IfNotPresent": "missing",
                        "Always": "always",
                        "Never": "never",
                    },
                ),
                doc="When to pull: if it is not there, always, never.",
                example="always",
                default="missing",
            ),
            Field(
                name="platform", type=PLATFORM, doc="Platform to pull.", example="linux/amd64", default="the engine's"
            ),
            Field(
                name="rootfs",
                type=FilePath("a path", exists="file"),
                doc="Make it from a root file system archive (tar; gz, xz, zst, bz2), as docker import.",
                example="./rootfs.tar.gz",
            ),
            Field(
                name="archive",
                type=ByShape(
                    "a path, or {path, reference}", scalar=FilePath("a path", exists="file"), mapping=_ARCHIVE
                ),
                doc="Load it from a docker save or OCI archive, as docker load.",
                example="./app.tar",
            ),
            Field(
                name="repository",
                type=REPOSITORY,
                doc="Name without tag that it shall be known by.",
                example="registry.example.com/shop/app",
                default="STACK/NAME",
            ),
            Field(
                name="tags",
                type=ListOf(TAG, "a list of tags"),
                doc="Tags that shall point to it.",
                example=["1.9.2"],
                default="[latest], none where a TagScheme covers it",
            ),
        ),
        _check,
        {
            "context": "write build: {context: …}",
            "dockerfile": "write build: {context: …, dockerfile: …}",
            "image": "did you mean `pull`?",
            "tag": "did you mean `tags`?",
            "pull_policy": "did you mean `policy`?",
        },
    ),
    make=_make,
)
