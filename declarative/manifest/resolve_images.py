"""Completes images and tag schemes: names, tags, versions, and the digests by which a build is known.

The rule that keeps it simple: whatever needs the file system or git for an image happens here, once for each resource.
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.core.resources import ArchiveSource, BuildSource, PullSource, RootfsSource
from declarative.errors import Invalid, reason_of
from declarative.manifest.decode import BAD
from declarative.manifest.fields.image import image_repository
from declarative.manifest.fields.tag_scheme import check_version
from declarative.manifest.suggest import did_you_mean
from declarative.record import replace

if TYPE_CHECKING:
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.version import Order
    from declarative.manifest.decode_document import Decoded
    from declarative.manifest.resolve import Known

_BLOCK = 1 << 20


def complete_images(known: Known, stack: str) -> None:
    """Fill in repositories, tags, versions and digests; complain about what does not fit."""
    covered = {document.resource.spec.image for document in known.sound("TagScheme")}
    for document in known.sound("Image"):
        _complete_image(document, stack, covered=document.name in covered)
    for document in known.sound("TagScheme"):
        _complete_scheme(document, known)
    check_references(known)


def _complete_image(document: Decoded, stack: str, *, covered: bool) -> None:
    spec = document.resource.spec
    repository = spec.repository or _default_repository(document, stack)
    tags = spec.tags
    if "tags" not in document.stated and not covered:
        tags = ("latest",)
    if not tags and not covered:
        place = document.tree.place("spec.tags")
        document.reading.complain(place, "the image has no tags, and no TagScheme covers it", "name at least one tag")
    source = _complete_source(spec.source, document)
    if source is None or source is BAD:
        document.resource = None
        return
    document.resource = replace(document.resource, spec=replace(spec, repository=repository, tags=tags, source=source))


def _default_repository(document: Decoded, stack: str) -> str:
    try:
        return image_repository(f"{stack}/{document.name}")
    except Invalid as error:
        text = f"`{stack}/{document.name}` cannot be a repository: {error.problem}"
        document.reading.complain(document.tree.place("metadata.name"), text, "state spec.repository")
        return ""


def _complete_source(source: Any, document: Decoded) -> Any:
    """Add what only the files say; None where they cannot be read."""
    outside = document.reading.outside
    if isinstance(source, PullSource) or outside.names_only:
        return source
    if isinstance(source, BuildSource | RootfsSource) and document.name in outside.made:
        return source
    if isinstance(source, BuildSource):
        from declarative.manifest.resolve_build import complete_build

        return complete_build(source, document)
    place = document.tree.place("spec.rootfs" if isinstance(source, RootfsSource) else "spec.archive")
    try:
        return _read_archive(source)
    except Invalid as error:
        return document.reading.complain(place, error.problem, error.remedy)
    except OSError as error:
        reason = reason_of(error)
        return document.reading.complain(place, f"cannot read {source.path}: {reason}", "check the path")


def _read_archive(source: RootfsSource | ArchiveSource) -> RootfsSource | ArchiveSource:
    if isinstance(source, RootfsSource):
        return replace(source, digest=_digest(source.path))
    from declarative.manifest.resolve_archive import image_id

    return replace(source, image_id=image_id(source.path, source.reference))


def _digest(path: str) -> str:
    import hashlib

    made = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            made.update(block)
    return f"sha256:{made.hexdigest()}"


def _complete_scheme(document: Decoded, known: Known) -> None:
    spec = document.resource.spec
    images = known.named("Image")
    image = images.get(spec.image)
    if image is None:
        near = did_you_mean(spec.image, images) or "declare it, or name another"
        document.reading.complain(document.tree.place("spec.image"), f"there is no Image `{spec.image}`", near)
        return
    repository = spec.repository or (image.resource.spec.repository if image.resource is not None else "")
    version = spec.version or _version(document)
    if version is None:
        document.resource = None
        return
    document.resource = replace(document.resource, spec=replace(spec, repository=repository, version=version))


def _version(document: Decoded) -> str | None:
    """Read the version from where the manifest says; None where that fails, "" where the image's label will say it."""
    source = document.extra["version_from"] or {}
    if "label" in source or document.reading.outside.names_only:
        return ""
    field = "file" if "file" in source else "git"
    place = document.tree.place(f"spec.version_from.{field}")
    version = _from_file(source["file"], document) if field == "file" else _from_git(document)
    if version is None:
        return None
    spec = document.resource.spec
    try:
        names = ("scheme", "levels", "variant", "prefix", "build")
        check_version({"version": version, **{name: getattr(spec, name) for name in names}})
    except Invalid as error:
        document.reading.refuse(place, error)
        return None
    return version


def _from_file(path: str, document: Decoded) -> str | None:
    place = document.tree.place("spec.version_from.file")
    try:
        with Path(path).open(encoding="utf-8") as file:
            version = file.readline(512).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not UTF-8 text"
        document.reading.complain(place, f"cannot read {path}: {reason.lower()}", "check the path")
        return None
    if not version:
        document.reading.complain(place, f"the first line of {path} is empty", "write the version there")
        return None
    return version


def _from_git(document: Decoded) -> str | None:
    """Give the highest of the tags of the commit that the scheme reads; where it reads none, one to complain about."""
    from declarative.core.tags.rules import Rules
    from declarative.manifest.git import Git
    from declarative.manifest.scope import TemplateFault

    place = document.tree.place("spec.version_from.git")
    folder = document.reading.folder(document.tree.walk("spec.version_from.git")[1])
    try:
        tags = Git(folder, document.reading.outside.environ).tags()
    except TemplateFault as fault:
        document.reading.complain(place, fault.text, "write the version itself, or version_from: {file: PATH}")
        return None
    if not tags:
        document.reading.complain(place, "no tag points at the commit that is checked out", "tag it: git tag v1.9.2")
        return None
    rules = Rules.of(document.resource.spec)
    readable = [(order, tag) for tag in tags if (order := _order(rules, tag)) is not None]
    return max(readable, key=itemgetter(0))[1] if readable else tags[0]


def _order(rules: Rules, tag: str) -> Order | None:
    """Place a tag among the scheme's versions; None where it is none. Names have no order, so the literal ones are alike."""
    try:
        return rules.read(tag).order if rules.scheme != "literal" else ()
    except Invalid:
        return None


def check_references(known: Known) -> None:
    """Complain about two images, or an image and a scheme, that want one reference.

    Of a scheme only the full tag counts: whose a floating tag is follows from all versions, and that is its point.
    """
    first: dict[str, Decoded] = {}
    for document in known.sound("Image"):
        for reference in document.resource.spec.references:
            _claim(first, reference, document, "spec.tags")
    for document in known.sound("TagScheme"):
        for reference in _full_references(document):
            _claim(first, reference, document, "spec.version")


def _claim(first: dict[str, Decoded], reference: str, document: Decoded, path: str) -> None:
    earlier = first.setdefault(reference, document)
    if earlier is not document:
        where = earlier.tree.at("spec.tags" if earlier.kind == "Image" else "spec.version")
        text = f"{reference} is stated by {earlier.subject} too, at {where}"
        document.reading.complain(document.tree.place(path), text, "give one of them another repository or tag")


def _full_references(document: Decoded) -> list[str]:
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.scheme import releases_of

    spec = document.resource.spec
    if not spec.version or not spec.repository:
        return []
    rules = Rules.of(spec)
    return [f"{spec.repository}:{rules.write(release.full)}" for release in releases_of(rules, spec.version)]
