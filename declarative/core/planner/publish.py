"""Tag schemes: local tags, pushes, and floating tags in the registry, in the order that makes publishing all or nothing.

Full tags and content first, in the engine and then in the registry; floating tags of every scheme only after all of that
(DESIGN 3, TagScheme). A crash in between leaves the floating tags where they were, and the next plan goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from declarative.core.actions import PushImage, RetagRemote, TagImage, UntagImage, UntagRemote
from declarative.core.build_label import known_by
from declarative.core.plan import Change, Step
from declarative.core.planner.images import ImageOutcome
from declarative.core.planner.makers import writers_of
from declarative.core.planner.names import familiar, repository_of
from declarative.core.planner.published import full_references
from declarative.core.state import LABEL_BUILD
from declarative.core.tags.rules import Rules
from declarative.core.tags.scheme import Cause, Place, TagMove, settle, tags_of, track_tag
from declarative.errors import DeclarativeError, Invalid
from declarative.record import record, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from declarative.core.plan import Origin
    from declarative.core.planner.draft import Draft
    from declarative.core.planner.images import ImagePlanner
    from declarative.core.resources import TagScheme
    from declarative.core.state import RemoteTag
    from declarative.core.tags.scheme import Outcome

PUBLISHED = "published"  # what every full tag provides, and every floating one comes after


@record
class Settled:
    """What was decided about one scheme in one place, for a preview."""

    scheme: TagScheme
    version: str
    where: Literal["engine", "registry"]
    place: Place
    outcome: Outcome


class TagPlanner:
    """Plans every TagScheme, and answers where a track will point."""

    def __init__(self, draft: Draft, images: ImagePlanner) -> None:
        self._draft = draft
        self._images = images
        self._writers = writers_of(draft.desired)
        self._planned: set[str] = set()
        images.written = self.point
        self.settled: list[Settled] = []
        self._waiting: set[str] = set()  # schemes about which nothing is known before their image is there
        self._after: dict[str, str | None] = {}  # reference → image id once the plan is done; None: not known yet

    def plan(self) -> None:
        """Plan all schemes."""
        for scheme in self._draft.desired.schemes.values():
            self._plan_once(scheme)

    def _plan_once(self, scheme: TagScheme) -> None:
        if scheme.name in self._planned:
            return
        self._planned.add(scheme.name)
        try:
            self._plan(scheme)
        except DeclarativeError as error:
            place = scheme.places.at("spec.version")
            self._leave(scheme)
            self._draft.problems.append(
                type(error)(f"TagScheme/{scheme.name}", f"{error.subject} {error.problem}", error.remedy, place)
            )

    def point(self, reference: str) -> ImageOutcome | None:
        """Say what a reference will be that a scheme of the stack writes; None where none does, or a higher version has it."""
        scheme = self._writers.get(reference)
        if scheme is None:
            return None
        self._plan_once(scheme)
        return self._pointed(reference, self._images.image(scheme.spec.image)) if reference in self._after else None

    def _pointed(self, reference: str, outcome: ImageOutcome) -> ImageOutcome:
        after = self._after[reference]
        if after is None:
            return replace(outcome, reference=reference, id=None)
        return self._found(reference, after, outcome)

    def _found(self, reference: str, image_id: str, outcome: ImageOutcome) -> ImageOutcome:
        """Say what a reference is that names this image, of the versions of the one that `outcome` is about."""
        state = self._draft.actual.images.get(image_id)
        config = state.config if state else outcome.config
        made = known_by(state.labels if state else {}) if outcome.made is not None else None
        return ImageOutcome(reference=reference, id=image_id, config=config, made=made)

    def track(self, name: str, track: str, resource: str) -> ImageOutcome:
        """Say what `resource` will run, that follows `track` of a scheme."""
        scheme = self._draft.desired.schemes[name]
        reference = self.followed(name, track)
        outcome = self._images.image(scheme.spec.image)
        if name in self._waiting:
            self._draft.hold(resource, f"it follows TagScheme/{name}")
            return replace(outcome, reference=reference, id=None)
        if reference in self._after:
            return self._pointed(reference, outcome)
        after = self._draft.actual.references.get(reference)
        if after is None and reference.rpartition(":")[2] in self._remote(scheme):
            return self._images.reference(reference, resource=resource, source=scheme.places.at("spec"))
        if after is None:
            problem = f"track {track!r}: there is no {reference}, and version {scheme.spec.version} does not make one"
            error = Invalid(f"TagScheme/{name}", problem, "track a level that the scheme writes")
            self._draft.problems.append(error)
            return ImageOutcome(reference=reference, id=None, why="it does not exist")
        return self._found(reference, after, outcome)

    def followed(self, name: str, track: str) -> str:
        """Name the reference that is followed with `track` of a scheme."""
        scheme = self._draft.desired.schemes[name]
        return familiar(f"{scheme.spec.repository}:{track_tag(self._rules(scheme), track)}")

    def image_of(self, name: str) -> str:
        """Name the Image that a scheme tags."""
        return self._draft.desired.schemes[name].spec.image

    def _remote(self, scheme: TagScheme) -> Mapping[str, RemoteTag]:
        """Give what the scheme's registry has; nothing where it publishes nothing."""
        return self._draft.actual.registry.get(repository_of(scheme.spec.repository), {}) if scheme.spec.push else {}

    def _rules(self, scheme: TagScheme) -> Rules:
        return Rules.of(scheme.spec, allow_retag=self._draft.policy.allow_retag)

    def _plan(self, scheme: TagScheme) -> None:
        spec = scheme.spec
        outcome = self._images.image(spec.image)
        version = spec.version or self._version_of(scheme, outcome)
        if not version:
            self._wait(scheme, "its version is a label of an image yet to be made")
            return
        rules = self._rules(scheme)
        remote = self._remote(scheme)
        local = self._local(spec.repository, outcome.id)
        if self._may_be_there(scheme, {*local.tags, *remote}):
            self._wait(scheme, "whether this version is published already shows when its image is pulled")
            return
        here = settle(rules, version, local, remote)
        self.settled.append(Settled(scheme=scheme, version=version, where="engine", place=local, outcome=here))
        if here.errors:
            self._refuse(scheme, here)
            return
        self._remember(scheme, rules, version, here, outcome)
        first = [move for move in here.moves if not move.floating or self._is_stood_on(scheme, move)]
        self._add_tags(scheme, outcome, first, floating=False)
        if spec.push:
            self._plan_push(scheme, rules, version, remote, local, outcome)
        self._add_tags(scheme, outcome, [move for move in here.moves if move not in first], floating=True)
        self._add_removals(scheme, here)

    def _is_stood_on(self, scheme: TagScheme, move: TagMove) -> bool:
        """Whether an image of the stack is built on this very name: then it is written as soon as its own image is there."""
        return familiar(f"{scheme.spec.repository}:{move.tag}") in self._images.built_on

    def _wait(self, scheme: TagScheme, reason: str) -> None:
        self._waiting.add(scheme.name)
        self._draft.deferred.append(f"TagScheme/{scheme.name}: {reason}")
        self._leave(scheme)

    def _may_be_there(self, scheme: TagScheme, tags: set[str]) -> bool:
        """Whether the version is about, and may well hold what is only to be pulled again."""
        fixed = scheme.spec.scheme != "literal" and not self._draft.policy.allow_retag
        gone = fixed and self._images.bases.is_gone(self._draft.desired.images[scheme.spec.image])
        return gone and any(name.rpartition(":")[2] in tags for name in full_references(scheme))

    def _refuse(self, scheme: TagScheme, outcome: Outcome) -> None:
        place = scheme.places.at("spec.version")
        self._leave(scheme)
        self._draft.problems += [
            type(error)(f"TagScheme/{scheme.name}", f"{error.subject} {error.problem}", error.remedy, place)
            for error in outcome.errors
        ]

    def _leave(self, scheme: TagScheme) -> None:
        """Let the versions of a scheme about which nothing is decided be what the last revision had."""
        revision = self._draft.actual.revision
        prefix = f"Version/{repository_of(scheme.spec.repository)}:"
        for name, content in (revision.objects if revision is not None else {}).items():
            if name.startswith(prefix):
                self._draft.objects.setdefault(name, content)

    def _version_of(self, scheme: TagScheme, outcome: ImageOutcome) -> str:
        """Read the version from the label of an image that is there; "" while there is none yet."""
        if outcome.id is None:
            return ""
        state = self._draft.actual.images.get(outcome.id)
        if state is None:
            return ""
        label = scheme.spec.version_label
        if label not in state.labels:
            raise Invalid("version_from", f"the image has no label {label!r}", "set it in the Dockerfile or the build")
        return state.labels[label]

    def _local(self, repository: str, content: str | None) -> Place:
        name = repository_of(repository)
        tags = {
            reference[len(name) + 1 :]: image
            for reference, image in self._draft.actual.references.items()
            if reference.startswith(name + ":") and "@" not in reference
        }
        return Place(repository=name, content=content, tags=dict(tags))

    def _remember(self, scheme: TagScheme, rules: Rules, version: str, here: Outcome, outcome: ImageOutcome) -> None:
        """Note where every tag of this version will point: for tracks, and for the next revision."""
        repository = scheme.spec.repository
        for tag in tags_of(rules, version):
            reference = familiar(f"{repository}:{tag}")
            moved = next((move for move in here.moves if move.tag == tag), None)
            if moved is not None:
                self._after[reference] = moved.after
            elif tag in here.unchanged:
                self._after[reference] = outcome.id
        for move in here.moves:
            self._after.setdefault(familiar(f"{repository}:{move.tag}"), move.after)
        own = [*tags_of(rules, version), *(move.tag for move in here.moves)]
        for reference in dict.fromkeys(familiar(f"{repository}:{tag}") for tag in own):
            if reference in self._after:
                self._draft.claim(f"TagScheme/{scheme.name}", f"Version/{reference}", self._after[reference] or "")
        for tag, _ in here.held:
            held = familiar(f"{repository}:{tag}")
            if held in self._draft.actual.references:
                self._draft.objects.setdefault(f"Version/{held}", self._draft.actual.references[held])

    def _add_tags(self, scheme: TagScheme, outcome: ImageOutcome, moves: list[TagMove], *, floating: bool) -> None:
        """Add one step for the full tags or for the floating ones. What makes or pulls the image may write full tags itself."""
        repository = scheme.spec.repository
        moves = [move for move in moves if not self._draft.provided(f"ref:{familiar(f'{repository}:{move.tag}')}")]
        if not moves:
            return
        references = [familiar(f"{repository}:{move.tag}") for move in moves]
        self._draft.add(
            Step(
                id=0,
                verb="tag",
                kind="TagScheme",
                name=scheme.name,
                cause=", ".join(dict.fromkeys(move.cause.value for move in moves)),
                origin=_origin(moves),
                changes=_changes(scheme, moves),
                source=scheme.places.at("spec"),
                actions=tuple(
                    TagImage(source=move.after or outcome.reference, reference=reference)
                    for move, reference in zip(moves, references, strict=True)
                ),
                touches=tuple(f"Tag/{reference}" for reference in references),
            ),
            resource=f"TagScheme/{scheme.name}",
            provides=(
                *(f"ref:{ref}" for ref in references),
                f"tags:{scheme.name}",
                *(() if floating else (PUBLISHED,)),
            ),
            needs=(f"image:{scheme.spec.image}", f"pulled:{scheme.spec.image}"),
            after=self._all_published() if floating else (),
        )

    def _all_published(self) -> tuple[str, ...]:
        """Name what writes the full tags of all schemes; a build writes those of its own."""
        return (PUBLISHED, *(f"image:{scheme.spec.image}" for scheme in self._draft.desired.schemes.values()))

    def _add_removals(self, scheme: TagScheme, here: Outcome) -> None:
        if not here.removals:
            return
        references = [familiar(f"{scheme.spec.repository}:{tag}") for tag, _ in here.removals]
        self._draft.add(
            Step(
                id=0,
                verb="untag",
                kind="TagScheme",
                name=scheme.name,
                cause="no longer a level, or beyond what is kept",
                changes=tuple(Change(path=f"tags.{tag}", before=content) for tag, content in here.removals),
                source=scheme.places.at("spec.prune"),
                actions=tuple(UntagImage(reference=reference) for reference in references),
                touches=tuple(f"Tag/{reference}" for reference in references),
            ),
            resource=f"TagScheme/{scheme.name}",
            needs=(f"tags:{scheme.name}",),
            after=(PUBLISHED,),
        )

    # ---- the registry --------------------------------------------------------------------------------------------

    def _plan_push(
        self,
        scheme: TagScheme,
        rules: Rules,
        version: str,
        remote: Mapping[str, RemoteTag],
        local: Place,
        outcome: ImageOutcome,
    ) -> None:
        content, tags = self._remote_contents(remote, outcome)
        place = Place(repository=local.repository, content=content, tags=tags)
        there = settle(rules, version, place, local.tags)
        self.settled.append(Settled(scheme=scheme, version=version, where="registry", place=place, outcome=there))
        if there.errors:
            self._refuse(scheme, there)
            return
        full = [move for move in there.moves if not move.floating]
        floating = [move for move in there.moves if move.floating]
        repository = scheme.spec.repository
        if full:
            actions = tuple(PushImage(reference=familiar(f"{repository}:{move.tag}")) for move in full)
            needs = [f"image:{scheme.spec.image}", *(f"ref:{action.reference}" for action in actions)]
            self._add_push(scheme, full, actions, provides=(PUBLISHED,), needs=needs)
        if floating:
            retags = tuple(RetagRemote(repository=repository, source=move.source, tag=move.tag) for move in floating)
            self._add_push(scheme, floating, retags, after=self._all_published())
        if there.removals:
            removals = tuple(UntagRemote(repository=repository, tag=tag) for tag, _ in there.removals)
            moves = [
                TagMove(tag=tag, before=content, after=None, cause=Cause.NEWER, version=version)
                for tag, content in there.removals
            ]
            self._add_push(scheme, moves, removals, after=self._all_published())

    def _remote_contents(
        self, remote: Mapping[str, RemoteTag], outcome: ImageOutcome
    ) -> tuple[str | None, dict[str, str | None]]:
        """Name what the registry holds by image id, so that it compares with the engine's.

        An image that was built elsewhere of the same inputs counts as the same: a fresh machine that builds version 1.9.2
        again must not be told that 1.9.2 is something else.
        """
        tags: dict[str, str | None] = {tag: found.image_id or found.digest or None for tag, found in remote.items()}
        state = self._draft.actual.images.get(outcome.id) if outcome.id else None
        key = state.labels.get(LABEL_BUILD) if state else None
        if outcome.id is None or state is None:
            return outcome.id, tags
        digests = set(state.digests.values())
        for tag, found in remote.items():
            same_inputs = key is not None and found.labels.get(LABEL_BUILD) == key
            if same_inputs or (found.digest and found.digest in digests):
                tags[tag] = outcome.id
        return outcome.id, tags

    def _add_push(
        self,
        scheme: TagScheme,
        moves: list[TagMove],
        actions: tuple[PushImage, ...] | tuple[RetagRemote, ...] | tuple[UntagRemote, ...],
        *,
        provides: tuple[str, ...] = (),
        needs: Sequence[str] = (),
        after: tuple[str, ...] = (),
    ) -> None:
        removing = isinstance(actions[0], UntagRemote)
        self._draft.add(
            Step(
                id=0,
                verb="untag" if removing else "push",
                kind="TagScheme",
                name=scheme.name,
                cause="no longer a level" if removing else ", ".join(dict.fromkeys(move.cause.value for move in moves)),
                origin=_origin(moves),
                changes=_changes(scheme, moves, where="registry", removing=removing),
                source=scheme.places.at("spec.push"),
                actions=actions,
                touches=tuple(f"RemoteTag/{scheme.spec.repository}:{move.tag}" for move in moves),
            ),
            resource=f"TagScheme/{scheme.name}",
            provides=provides,
            needs=needs,
            after=after,
        )


def _origin(moves: list[TagMove]) -> Origin:
    origins = {move.origin for move in moves}
    return "both" if len(origins) > 1 else "drift" if origins == {"drift"} else "change"


def _changes(
    scheme: TagScheme, moves: list[TagMove], where: str = "tags", *, removing: bool = False
) -> tuple[Change, ...]:
    """Say where tags move; content that is yet to be made goes by its version."""
    place = scheme.places.at("spec.version")
    return tuple(
        Change(
            path=f"{where}.{move.tag}",
            before=move.before,
            after=move.after or (None if removing else f"{move.version} (yet to be made)"),
            origin=move.origin,
            source=place,
        )
        for move in moves
    )
