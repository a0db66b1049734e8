"""Images: whether what the manifest asks for is there already, and under the right names.

A build is needed when no image of this resource carries the same inputs on its label (DESIGN 3, Image): the builder is
never asked to find that out. What an image will be before it is built nobody knows; then `ImageOutcome.id` is None and
everything that runs it is planned on "it will be another one".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from declarative.core.actions import BuildImage, ImportImage, LoadImage, PullImage, TagImage
from declarative.core.plan import Change, Step
from declarative.core.planner.names import familiar, repository_of
from declarative.core.resources import ArchiveSource, BuildSource, KeptSource, PullSource, RootfsSource
from declarative.core.state import LABEL_BUILD, LABEL_KIND, LABEL_NAME, LABEL_STACK, Owner
from declarative.errors import DeclarativeError, NotFound, Unsupported
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.plan import Origin
    from declarative.core.planner.draft import Draft
    from declarative.core.resources import Image
    from declarative.core.state import ImageConfig, ImageState
    from declarative.core.tags.rules import Rules


@record
class ImageOutcome:
    """What a reference will be once the plan is done. `id` None: not known before it is made; `why` says what makes it."""

    reference: str
    id: str | None
    config: ImageConfig | None = None
    why: str = ""


class ImagePlanner:
    """Plans every Image once, bases first, and answers what a reference will be."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._outcomes: dict[str, ImageOutcome] = {}
        self._pulled: dict[str, ImageOutcome] = {}
        self._makers = {
            familiar(ref): image for image in draft.desired.images.values() for ref in self.references(image)
        }

    def references(self, image: Image) -> tuple[str, ...]:
        """Name what the image is tagged as when it is made: its own references, or the full tags of its schemes."""
        if image.spec.references or not self._draft.desired.schemes:
            return image.spec.references
        from declarative.core.tags.rules import Rules

        full = []
        for scheme in self._draft.desired.schemes.values():
            spec = scheme.spec
            if spec.image == image.name and spec.version:
                rules = Rules.of(spec)
                try:
                    full += [
                        f"{spec.repository}:{rules.write(rules.read(v).full)}" for v in _versions(spec.version, rules)
                    ]
                except DeclarativeError:
                    continue  # reported by the tag planner, with the scheme's place
        return tuple(full)

    def image(self, name: str) -> ImageOutcome:
        """Plan the Image `name` (once)."""
        if name not in self._outcomes:
            self._outcomes[name] = self._plan(self._draft.desired.images[name])
        return self._outcomes[name]

    def reference(self, reference: str, *, resource: str, source: str) -> ImageOutcome:
        """Say what a plain reference will be, and pull it where the engine does not have it."""
        name = familiar(reference)
        maker = self._makers.get(name)
        if maker is not None:
            outcome = self.image(maker.name)
            return ImageOutcome(reference=name, id=outcome.id, config=outcome.config, why=outcome.why)
        found = self._state(name)
        if found is not None:
            return ImageOutcome(reference=name, id=found.id, config=found.config)
        if name not in self._pulled:
            self._add_pull(name, "", "missing", resource=resource, label=name, source=source)
            self._pulled[name] = ImageOutcome(reference=name, id=None, why="it is pulled")
        return self._pulled[name]

    def _state(self, reference: str) -> ImageState | None:
        actual = self._draft.actual
        found = actual.references.get(familiar(reference))
        return actual.images.get(found) if found is not None else None

    # ---- one image -----------------------------------------------------------------------------------------------

    def _plan(self, image: Image) -> ImageOutcome:
        source = image.spec.source
        match source:
            case BuildSource():
                outcome = self._plan_build(image, source)
            case PullSource():
                outcome = self._plan_pull(image, source)
            case RootfsSource():
                outcome = self._plan_rootfs(image, source)
            case ArchiveSource():
                outcome = self._plan_archive(image, source)
            case KeptSource():
                outcome = self._plan_kept(image, source)
        made_with_names = isinstance(source, (BuildSource, RootfsSource, ArchiveSource)) and outcome.why != ""
        if not made_with_names:
            self._add_tags(image, outcome)
        self._draft.claim(f"Image/{image.name}", f"Image/{image.name}", outcome.id or "")
        for ref in image.spec.references:
            self._draft.claim(f"Image/{image.name}", f"Tag/{familiar(ref)}", outcome.id or "")
        return outcome

    def _plan_build(self, image: Image, source: BuildSource) -> ImageOutcome:
        key, needs, pending = self._build_key(image, source)
        references = self.references(image)
        found = None if pending else self._made_of(image, key)
        if found is not None:
            return ImageOutcome(reference=references[0] if references else found.id, id=found.id, config=found.config)
        if source.needs_buildkit and not self._draft.actual.engine.buildkit:
            self._refuse_buildkit(image, source)
        current = self._current(image)
        changes = _build_changes(image, key, current)
        cause = pending or _build_cause(changes, current)
        self._draft.add(
            Step(
                id=0,
                verb="build",
                kind="Image",
                name=image.name,
                cause=cause,
                origin=self._origin(references, current),
                changes=changes,
                source=image.places.at("spec.build"),
                actions=(BuildImage(source=source, references=references, owner=self._owner(image)),),
                touches=tuple(f"Tag/{familiar(ref)}" for ref in references),
            ),
            resource=f"Image/{image.name}",
            provides=(f"image:{image.name}", *(f"ref:{familiar(ref)}" for ref in references)),
            needs=needs,
        )
        return ImageOutcome(reference=familiar(references[0]) if references else "", id=None, why="it is built")

    def _build_key(self, image: Image, source: BuildSource) -> tuple[dict[str, str], list[str], str]:
        """Give the label that a finished build would carry, what the build needs, and why it cannot be known yet."""
        key = dict(source.parts)
        needs = []
        pending = ""
        for base in source.bases:
            place = image.places.at("spec.build")
            outcome = self.reference(base, resource=f"Image/{image.name}", source=place)
            needs.append(f"ref:{familiar(base)}")
            if outcome.id is None:
                pending = pending or f"base image {base}: {outcome.why}"
            else:
                key[f"base:{familiar(base)}"] = outcome.id
        return key, needs, pending

    def _made_of(self, image: Image, key: Mapping[str, str]) -> ImageState | None:
        """Find an image of this resource whose label says it was made of `key`; one with our names is preferred."""
        wanted = dict(key)
        fits = [state for state in self._own_images(image) if _read_key(state) == wanted]
        names = {familiar(ref) for ref in self.references(image)}
        fits.sort(key=lambda state: (names.isdisjoint(state.references), state.id))
        return fits[0] if fits else None

    def _own_images(self, image: Image) -> list[ImageState]:
        wanted = {LABEL_STACK: self._draft.desired.stack, LABEL_KIND: "Image", LABEL_NAME: image.name}
        return [state for state in self._draft.actual.images.values() if wanted.items() <= state.labels.items()]

    def _current(self, image: Image) -> ImageState | None:
        for reference in self.references(image):
            if (state := self._state(reference)) is not None:
                return state
        # What has lost its names is not current any more; engines keep it or not as they like.
        named = sorted((state for state in self._own_images(image) if state.references), key=lambda s: s.references)
        return named[0] if named else None

    def _refuse_buildkit(self, image: Image, source: BuildSource) -> None:
        where = "; ".join(source.needs_buildkit[:3])
        remedy = "write the Dockerfile without these"
        if self._draft.actual.engine.name != "podman":  # which buildx cannot drive
            remedy = f"install the docker buildx plugin (Debian: docker-buildx) or {remedy}"
        self._draft.problems.append(
            Unsupported(
                f"Image/{image.name}",
                f"the Dockerfile needs BuildKit ({where}), and this engine is built on without it",
                remedy,
                image.places.at("spec.build"),
            )
        )

    def _plan_pull(self, image: Image, source: PullSource) -> ImageOutcome:
        name = familiar(source.reference)
        found = self._state(name)
        place = image.places.at("spec.pull")
        if found is None and source.policy == "never":
            problem = f"{name} is not in the engine, and the policy is never to pull"
            remedy = "load it, or set policy: missing"
            self._draft.problems.append(NotFound(f"Image/{image.name}", problem, remedy, place))
            return ImageOutcome(reference=name, id=None, why="it is missing")
        newer = source.policy == "always" and found is not None and self._is_newer(name, found)
        if found is not None and not newer:
            return ImageOutcome(reference=name, id=found.id, config=found.config)
        cause = "the registry has a newer one" if newer else "missing"
        self._add_pull(name, source.platform, cause, resource=f"Image/{image.name}", label=image.name, source=place)
        return ImageOutcome(reference=name, id=None, why="it is pulled")

    def _is_newer(self, name: str, found: ImageState) -> bool:
        latest = self._draft.actual.latest.get(name)
        return latest is not None and found.digests.get(repository_of(name)) != latest

    def _add_pull(self, name: str, platform: str, cause: str, *, resource: str, label: str, source: str) -> None:
        drifted = self._draft.remembered(f"Tag/{name}") and cause == "missing"
        self._draft.objects.setdefault(f"Tag/{name}", "")
        image = resource.removeprefix("Image/") if resource == f"Image/{label}" else ""
        self._draft.add(
            Step(
                id=0,
                verb="pull",
                kind="Image",
                name=label,
                cause=cause,
                origin="drift" if drifted else "change",
                source=source,
                actions=(PullImage(reference=name, platform=platform),),
                touches=(f"Tag/{name}",),
            ),
            resource=resource,
            provides=(f"ref:{name}", *((f"pulled:{image}",) if image else ())),
        )

    def _plan_rootfs(self, image: Image, source: RootfsSource) -> ImageOutcome:
        key = {"rootfs": source.digest}
        references = self.references(image)
        found = self._made_of(image, key)
        if found is not None:
            return ImageOutcome(reference=references[0] if references else found.id, id=found.id, config=found.config)
        current = self._current(image)
        changes = _build_changes(image, key, current)
        action = ImportImage(source=source, references=references, owner=self._owner(image))
        return self._add_made(image, "import", _build_cause(changes, current), changes, action)

    def _plan_archive(self, image: Image, source: ArchiveSource) -> ImageOutcome:
        references = self.references(image)
        found = self._draft.actual.images.get(source.image_id)
        if found is not None:
            return ImageOutcome(reference=references[0] if references else found.id, id=found.id, config=found.config)
        action = LoadImage(source=source, references=references, owner=self._owner(image))
        return self._add_made(image, "load", "missing", (), action, known=source.image_id)

    def _plan_kept(self, image: Image, source: KeptSource) -> ImageOutcome:
        outcome = self.kept(source, resource=f"Image/{image.name}", source=image.places.at("spec"))
        references = self.references(image)
        return replace(outcome, reference=references[0]) if outcome.id and references else outcome

    def kept(self, image: KeptSource, *, resource: str, source: str) -> ImageOutcome:
        """Find what a revision had, under its id: any name may be another image's by the end of the plan."""
        found = self._draft.actual.images.get(image.image_id)
        if found is None:
            problem = f"the image of revision {image.revision} is no longer in the engine ({image.image_id})"
            remedy = "bring its sources back (git checkout) and apply them"
            self._draft.problems.append(NotFound(resource, problem, remedy, source))
            return ImageOutcome(reference="", id=None, why="it is gone")
        return ImageOutcome(reference=found.id, id=found.id, config=found.config)

    def _add_made(
        self,
        image: Image,
        verb: str,
        cause: str,
        changes: tuple[Change, ...],
        action: ImportImage | LoadImage,
        *,
        known: str | None = None,
    ) -> ImageOutcome:
        references = self.references(image)
        self._draft.add(
            Step(
                id=0,
                verb="import" if verb == "import" else "load",
                kind="Image",
                name=image.name,
                cause=cause,
                origin=self._origin(references, self._current(image)),
                changes=changes,
                source=image.places.at("spec"),
                actions=(action,),
                touches=tuple(f"Tag/{familiar(ref)}" for ref in references),
            ),
            resource=f"Image/{image.name}",
            provides=(f"image:{image.name}", *(f"ref:{familiar(ref)}" for ref in references)),
        )
        reference = familiar(references[0]) if references else ""
        return ImageOutcome(reference=reference, id=known, why=f"it is {verb}ed")

    def _origin(self, references: tuple[str, ...], current: ImageState | None) -> Origin:
        """Tell an image removed by hand (drift) from everything else that makes one (change)."""
        names = [f"{word}/{familiar(ref)}" for ref in references for word in ("Tag", "Version")]
        gone = current is None and any(self._draft.remembered(name) for name in names)
        return "drift" if gone else "change"

    def _add_tags(self, image: Image, outcome: ImageOutcome) -> None:
        """Tag what is there (or what a pull brings) with the image's own references."""
        actual = self._draft.actual
        wrong = [
            familiar(ref)
            for ref in image.spec.references
            if familiar(ref) != outcome.reference or outcome.id is not None
            if outcome.id is None or actual.references.get(familiar(ref)) != outcome.id
        ]
        if not wrong:
            return
        revision = actual.revision
        applied = revision.objects if revision else {}
        moved = [ref for ref in wrong if outcome.id is not None and applied.get(f"Tag/{ref}") == outcome.id]
        self._draft.add(
            Step(
                id=0,
                verb="tag",
                kind="Image",
                name=image.name,
                cause="moved by hand"
                if moved
                else "missing"
                if all(r not in actual.references for r in wrong)
                else "moved",
                origin="drift" if moved else "change",
                changes=tuple(
                    Change(
                        path=f"spec.tags.{ref}",
                        before=actual.references.get(ref),
                        after=outcome.id or outcome.reference,
                        origin="drift" if ref in moved else "change",
                        source=image.places.at("spec.tags"),
                    )
                    for ref in wrong
                ),
                source=image.places.at("spec.tags"),
                actions=tuple(TagImage(source=outcome.id or outcome.reference, reference=ref) for ref in wrong),
                touches=tuple(f"Tag/{ref}" for ref in wrong),
            ),
            resource=f"Image/{image.name}",
            provides=(f"image:{image.name}", *(f"ref:{ref}" for ref in wrong)),
            needs=(f"pulled:{image.name}", f"ref:{outcome.reference}"),
        )

    def _owner(self, image: Image) -> Owner:
        return Owner(stack=self._draft.desired.stack, kind="Image", name=image.name)


def _versions(version: str, rules: Rules) -> list[str]:
    return version.replace(",", " ").split() if rules.scheme == "literal" else [version]


def _read_key(state: ImageState) -> dict[str, str] | None:
    try:
        key = json.loads(state.labels.get(LABEL_BUILD, "null"))
    except ValueError:
        return None
    return key if isinstance(key, dict) else None


def _build_changes(image: Image, key: Mapping[str, str], current: ImageState | None) -> tuple[Change, ...]:
    """Name the inputs that differ from what the current image was made of."""
    before = (_read_key(current) if current is not None else None) or {}
    if not before:
        return ()
    return tuple(
        Change(
            path=f"spec.build.{name}",
            before=before.get(name),
            after=key.get(name),
            source=image.places.at(f"spec.build.{name.partition(':')[0].partition('/')[0]}"),
        )
        for name in sorted(before.keys() | key.keys())
        if before.get(name) != key.get(name) and not (name == "context" and _entries(before, key))
    )


def _entries(before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Whether the context's own entries tell more than its digest does."""
    return any(
        before.get(name) != after.get(name) for name in before.keys() | after.keys() if name.startswith("context/")
    )


def _build_cause(changes: tuple[Change, ...], current: ImageState | None) -> str:
    if current is None:
        return "missing"
    if not changes:
        return "not made by this resource"
    names = [change.path.removeprefix("spec.build.").replace("base:", "base image ") for change in changes]
    return f"{', '.join(names)} changed"
