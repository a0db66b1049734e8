"""The fields of a TagScheme: which tags an image gets, out of its version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from declarative.core.resources import Scheme, TagScheme, TagSchemeSpec
from declarative.errors import Invalid
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_collections import ListOf
from declarative.manifest.decode_scalars import Boolean, Enum, Text
from declarative.manifest.decode_secrets import FilePath
from declarative.manifest.fields.image import REPOSITORY
from declarative.manifest.fields.table import RESOURCE_NAME, Head, Table

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping

_LEVELS = ("major", "minor", "patch", "year", "month", "day", "full", "latest")


def _source(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    if len(values) != 1:
        return reading.complain(node, "a version comes from one place", "write one of file, git, label")
    if values.get("git") is False:
        return reading.complain(node.items["git"], "says where the version does not come from", "write git: true")
    return values


VERSION_FROM = Record(
    "where the version comes from",
    (
        Field(name="file", type=FilePath(), doc="File whose first line is the version.", example="./VERSION"),
        Field(name="git", type=Boolean(), doc="The tag at the commit that is checked out.", example=True),
        Field(
            name="label",
            type=Text("a label's name"),
            doc="Label of the image.",
            example="org.opencontainers.image.version",
        ),
    ),
    _source,
)


def check_version(values: dict[str, Any]) -> None:
    """Raise Invalid where the version cannot be read by its scheme."""
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.scheme import releases_of

    known = ("scheme", "levels", "variant", "prefix", "build")
    releases_of(Rules(**{name: values[name] for name in known if name in values}), values["version"])


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    from declarative.core.tags.rules import Rules

    scheme = values.get("scheme", "semver")
    known = Rules(scheme=scheme).possible
    for level in values.get("levels", ()):
        if level not in known:
            reading.complain(
                node.items["levels"], f"{scheme} has no level `{level}`", f"write some of {', '.join(known)}"
            )
            return values
    if ("version" in values) == ("version_from" in values):
        return reading.complain(
            node, "needs one of version and version_from", "write version: 1.9.2, or version_from: {git: true}"
        )
    if "version" in values:
        try:
            check_version(values)
        except Invalid as error:
            return reading.refuse(node.items["version"], error)
    return values


def _make(head: Head, values: dict[str, Any]) -> TagScheme:
    """Make a scheme that `resolve` completes: repository and version may be empty still."""
    source = values.pop("version_from", {})
    if "levels" not in values:
        from declarative.core.tags.rules import Rules

        values["levels"] = Rules(scheme=values.get("scheme", "semver")).wanted
    values.setdefault("repository", "")
    return TagScheme(
        name=head.name, spec=TagSchemeSpec(version_label=source.get("label", ""), **values), places=head.tree
    )


TAG_SCHEME = Table(
    kind="TagScheme",
    doc="The tags of an image, computed from its version and all other versions that are known.",
    spec=Record(
        "a tag scheme's spec",
        (
            Field(name="image", type=RESOURCE_NAME, doc="The Image that is tagged.", example="app", required=True),
            Field(
                name="repository",
                type=REPOSITORY,
                doc="Where the tags are.",
                example="registry.example.com/shop/app",
                default="the image's",
            ),
            Field(
                name="version",
                type=Text("a version", number=True),
                doc="The version. A leading v is accepted and not written.",
                example="1.9.2",
            ),
            Field(
                name="version_from",
                type=VERSION_FROM,
                doc="Where to read the version: {file: PATH}, {git: true} or {label: NAME}.",
                example={"git": True},
            ),
            Field(
                name="scheme",
                type=Enum(*get_args(Scheme)),
                doc="How versions are read and ordered.",
                example="semver",
                default="semver",
            ),
            Field(
                name="levels",
                type=ListOf(Enum(*_LEVELS), "a list of levels"),
                doc="Which tags there are: of semver major, minor, patch, latest; of calver year, month, day, full, latest.",
                example=["minor", "patch", "latest"],
                default="[major, minor, patch, latest]; [year, month, full, latest]; [full]",
            ),
            Field(
                name="variant",
                type=Text("a variant", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"),
                doc="Suffix of every tag: alpine gives 1.9.2-alpine, and alpine for latest.",
                example="alpine",
            ),
            Field(
                name="prefix",
                type=Text("a prefix", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", empty=True),
                doc="Prefix of every version tag.",
                example="v",
            ),
            Field(
                name="build",
                type=Enum("refuse", "replace"),
                doc="What to do with build metadata (1.2.3+b5): refuse it, or write - for +.",
                example="replace",
                default="refuse",
            ),
            Field(name="push", type=Boolean(), doc="Push the tags to the registry.", example=True, default="false"),
            Field(
                name="prune",
                type=Boolean(),
                doc="Remove floating tags that no version backs any more.",
                example=True,
                default="false",
            ),
        ),
        _check,
        {"tags": "tags follow from version and levels; further ones stand in the Image"},
    ),
    make=_make,
)
