"""Images: whether what the manifest asks for is there already, and under the right names.

A build is needed when no image of this resource carries the same inputs on its label (DESIGN 3, Image): the builder is
never asked to find that out. What an image will be before it is built nobody knows; then `ImageOutcome.id` is None and
everything that runs it is planned on "it will be another one".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.actions import BuildImage, ImportImage, LoadImage, PullImage, TagImage
from declarative.core.build_label import known_by
from declarative.core.plan import Change, Step
from declarative.core.planner.bases import Bases
from declarative.core.planner.inputs import Inputs, cause_of, changes_of
from declarative.core.planner.makers import makers_of, references_of
from declarative.core.planner.names import familiar, repository_of
from declarative.core.resources import ArchiveSource, BuildSource, KeptSource, PullSource, RootfsSource
from declarative.core.state import LABEL_KIND, LABEL_NAME, LABEL_STACK, Owner
from declarative.errors import NotFound, Unsupported
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.core.plan import Origin
    from declarative.core.planner.draft import Draft
    from declarative.core.resources import Image
    from declarative.core.state import ImageConfig, ImageState


@record
class ImageOutcome:
    """What a reference will be once the plan is done. `id` None: not known before it is made; `why` says what makes it.

    `made`: of what the stack makes, by what it is known as a base (`build_label`), "" where that shows only then; else None.
    """

    reference: str
    id: str | None
    config: ImageConfig | None = None
    why: str = ""
    made: str | None = None


class ImagePlanner:
    """Plans every Image once, bases first, and answers what a reference will be."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._outcomes: dict[str, ImageOutcome] = {}
        self._pulled: dict[str, ImageOutcome] = {}
        self._judged_unseen: list[tuple[str, str]] = []  # image, and a base of it that the engine does not have
        self._makers = makers_of(draft.desired)
        self.bases = Bases(draft, self._makers, self._made)
        sources = [image.spec.source for image in draft.desired.images.values()]
        self.built_on = {familiar(base) for each in sources if isinstance(each, BuildSource) for base in each.bases}
        self.written: Callable[[str], ImageOutcome | None] = lambda _: None  # by TagSchemes, where the stack has some

    def references(self, image: Image) -> tuple[str, ...]:
        """Name what the image is tagged as when it is made: its own references, or the full tags of its schemes."""
        return references_of(image, self._draft.desired)

    def image(self, name: str) -> ImageOutcome:
        """Plan the Image `name` (once)."""
        if name not in self._outcomes:
            self._outcomes[name] = self._plan(self._draft.desired.images[name])
        return self._outcomes[name]

    def reference(self, reference: str, *, resource: str, source: str) -> ImageOutcome:
        """Say what a plain reference will be, and pull it where the engine does not have it."""
        name = familiar(reference)
        made = self._made(name)
        if made is not None:
            return made
        found = self._state(name)
        if found is not None:
            return ImageOutcome(reference=name, id=found.id, config=found.config)
        if name not in self._pulled:
            self._add_pull(name, "", "missing", resource=resource, label=name, source=source)
            self._pulled[name] = ImageOutcome(reference=name, id=None, why="it is pulled")
        return self._pulled[name]

    def _made(self, name: str) -> ImageOutcome | None:
        """Say what a reference will be that an Image or a TagScheme of the stack makes; None for all others."""
        maker = self._makers.get(name)
        if maker is None:
            return self.written(name)
        outcome = self.image(maker.name)
        return replace(outcome, reference=name)

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
        if not self._draft.provided(f"image:{image.name}"):  # what makes an image gives it its names
            self._add_tags(image, outcome)
        self._draft.claim(f"Image/{image.name}", f"Image/{image.name}", outcome.id or "")
        for ref in image.spec.references:
            self._draft.claim(f"Image/{image.name}", f"Tag/{familiar(ref)}", outcome.id or "")
        return outcome

    def _plan_build(self, image: Image, source: BuildSource) -> ImageOutcome:
        inputs = self.bases.inputs(source)
        references = self.references(image)
        found = self._made_of(image, inputs)
        if found is not None:
            self._note_unseen(image, inputs)
            return self._there(references, found)
        published = self._pull_published(image, inputs, source.platform, image.places.at("spec.build"))
        if published is not None:
            return published
        if source.needs_buildkit and not self._draft.actual.engine.buildkit:
            self._refuse_buildkit(image, source)
        current = self._current(image)
        changes = changes_of(image, inputs, current.labels) if current is not None else ()
        place = image.places.at("spec.build")
        pulled = self._fetch_bases(image, source)
        made = self.bases.made(source)
        action = BuildImage(source=source, references=references, owner=self._owner(image), made=made)
        self._draft.add(
            Step(
                id=0,
                verb="build",
                kind="Image",
                name=image.name,
                cause=inputs.pending or pulled or self._cause(changes, current),
                origin=self._origin(references, current),
                changes=changes,
                source=place,
                actions=(action,),
                touches=tuple(f"Tag/{familiar(ref)}" for ref in references),
            ),
            resource=f"Image/{image.name}",
            provides=(f"image:{image.name}", *(f"ref:{familiar(ref)}" for ref in references)),
            needs=[f"ref:{familiar(base)}" for base in source.bases],
        )
        reference = familiar(references[0]) if references else ""
        return ImageOutcome(reference=reference, id=None, why="it is built", made=inputs.digest())

    def _there(self, references: tuple[str, ...], found: ImageState) -> ImageOutcome:
        """Say what the image of a resource is that was made before."""
        reference = references[0] if references else found.id
        return ImageOutcome(reference=reference, id=found.id, config=found.config, made=known_by(found.labels))

    def _fetch_bases(self, image: Image, source: BuildSource) -> str:
        """Pull the bases that are missing; what the first of them waits for, "" where all are there."""
        place = image.places.at("spec.build")
        found = [(base, self.reference(base, resource=f"Image/{image.name}", source=place)) for base in source.bases]
        return next((f"base image {base}: {outcome.why}" for base, outcome in found if outcome.id is None), "")

    def _pull_published(self, image: Image, inputs: Inputs, platform: str, place: str) -> ImageOutcome | None:
        """Pull what another engine made of the same inputs and published as the version that is asked for; None if nothing."""
        actual = self._draft.actual
        for scheme in self._draft.desired.schemes.values():
            if scheme.spec.image != image.name:
                continue
            from declarative.core.planner.published import find_published

            labels = self._owner_labels(image)
            found = find_published(actual, scheme, inputs, labels, platform or actual.engine.platform)
            if found is not None:
                reference, held = found
                cause = "made of the same, and published already"
                resource = f"Image/{image.name}"
                self._add_pull(reference, platform, cause, resource=resource, label=image.name, source=place)
                self._note_unseen(image, inputs)
                made = known_by(held.labels)
                return ImageOutcome(reference=reference, id=held.image_id, why="it is pulled", made=made)
        return None

    def _note_unseen(self, image: Image, inputs: Inputs) -> None:
        self._judged_unseen += [(image.name, name.removeprefix("base:")) for name in sorted(inputs.unseen)]

    def defer(self) -> None:
        """Note which images must be looked at again: they stand on what was not seen, and this plan brings that."""
        for name, base in self._judged_unseen:
            if self._draft.provided(f"ref:{base}"):
                text = f"Image/{name}: whether it is built anew shows when its base image {base} is there"
                self._draft.deferred.append(text)

    def _made_of(self, image: Image, inputs: Inputs) -> ImageState | None:
        """Find an image of this resource whose label says it was made of these; one with our names is preferred."""
        fits = [state for state in self._own_images(image) if inputs.made(state.labels)]
        names = {familiar(ref) for ref in self.references(image)}
        fits.sort(key=lambda state: (names.isdisjoint(state.references), state.id))
        return fits[0] if fits else None

    def _own_images(self, image: Image) -> list[ImageState]:
        wanted = self._owner_labels(image)
        return [state for state in self._draft.actual.images.values() if wanted.items() <= state.labels.items()]

    def _owner_labels(self, image: Image) -> dict[str, str]:
        return {LABEL_STACK: self._draft.desired.stack, LABEL_KIND: "Image", LABEL_NAME: image.name}

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
        inputs = Inputs(known={"rootfs": source.digest})
        references = self.references(image)
        found = self._made_of(image, inputs)
        if found is not None:
            return self._there(references, found)
        published = self._pull_published(image, inputs, "", image.places.at("spec.rootfs"))
        if published is not None:
            return published
        current = self._current(image)
        changes = changes_of(image, inputs, current.labels) if current is not None else ()
        action = ImportImage(source=source, references=references, owner=self._owner(image))
        outcome = self._add_made(image, "import", self._cause(changes, current), changes, action)
        return replace(outcome, made=inputs.digest())

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

    def _cause(self, changes: tuple[Change, ...], current: ImageState | None) -> str:
        return cause_of(changes) if current is not None else "missing"

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
