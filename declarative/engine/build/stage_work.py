"""Building one stage: its steps one after the other, each from the cache or made.

The rule that keeps it simple: a step is a job (`copying`, `running`, or an edit of the configuration). The job says what it
depends on; here the cache is asked, and if it does not know, the job is done and its image kept.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from declarative.engine.build import commands as c
from declarative.engine.build.copying import Origin, copy_job
from declarative.engine.build.draft import edit, nothing_run, start
from declarative.engine.build.job import Job
from declarative.engine.build.owners import find_owner
from declarative.engine.build.placing import Delivery, destination, place
from declarative.engine.build.records import cache_key
from declarative.engine.build.running import run_job
from declarative.engine.build.stages import SCRATCH, find_origin
from declarative.engine.build.state import State, make_image
from declarative.errors import DeclarativeError, Invalid, NotFound
from declarative.oci.config import RunDefaults
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from declarative.engine.build.bases import Bases
    from declarative.engine.build.draft import Edit
    from declarative.engine.build.output import Voice
    from declarative.engine.build.running import Surroundings
    from declarative.engine.build.site import Site
    from declarative.engine.build.stages import Numbered, Recipe, Stage
    from declarative.engine.images.image import Image
    from declarative.engine.images.snapshots import Layer
    from declarative.errors import Span
    from declarative.oci.platform import Platform


class StageWork:
    """One stage of one build. `result` gives what an earlier stage came to, once it is done."""

    def __init__(
        self,
        site: Site,
        recipe: Recipe,
        stage: Stage,
        voice: Voice,
        *,
        bases: Bases,
        around: Surroundings,
        result: Callable[[int], State],
    ) -> None:
        self._site = site
        self._recipe = recipe
        self._stage = stage
        self._voice = voice
        self._bases = bases
        self._around = around
        self._result = result

    def run(self, base: Image | None, platform: Platform, triggers: Sequence[Numbered]) -> State:
        """Build it on an image (None: on scratch, or on an earlier stage). Failures in the words of the classic builder."""
        state = self._start(base, platform)
        if triggers:
            self._voice.text(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
            for numbered in triggers:
                state = self._step(state, numbered.step)
        self._voice.image(state.short)
        for numbered in self._stage.steps:
            self._site.stop.check()
            self._voice.step(numbered.number, numbered.text)
            state = self._step(state, numbered.step)
            self._voice.image(state.short)
        return state

    def _start(self, base: Image | None, platform: Platform) -> State:
        parent = self._result(self._stage.parent) if self._stage.parent is not None else None
        if parent is not None:
            draft = start(parent.draft.run, parent.draft.author)
            state = replace(parent, draft=draft)
        elif base is not None:
            state = State(
                draft=start(base.config.run, base.config.author),
                scope=self._site.scope,
                platform=base.config.platform,
                image=base,
            )
        else:
            state = State(draft=start(RunDefaults()), scope=self._site.scope, platform=platform)
        return replace(state, scope=state.scope.stage(state.draft.run.env))

    def _step(self, state: State, step: c.Step) -> State:
        with ExitStack() as stack:
            changed = edit(state.draft, state.scope, step)
            job = self._job(state, step, changed, stack)
            after = replace(state, draft=changed.draft, scope=changed.scope)
            key = cache_key(state.id, job.says, (str(state.platform), *job.inputs))
            known = self._cached(key, after, job)
            if known is not None:
                self._voice.cached()
                return replace(after, image=known)
            return self._make(after, job, key, state)

    def _job(self, state: State, step: c.Step, changed: Edit, stack: ExitStack) -> Job:
        match step:
            case c.Run():
                return run_job(self._site, state, step, self._voice, self._around, self._lowers_of)
            case c.Copy():
                origin = None
                if step.origin:
                    id_, lowers = self._lowers_of(step.origin, step.span)
                    origin = Origin(id=id_, lowers=lowers)
                return copy_job(self._site, state, step, origin, self._voice, stack)
        says = nothing_run(state.draft, changed.says)
        inputs = (repr(changed.draft.run), changed.draft.author)
        act = None
        if isinstance(step, c.Workdir):
            act = self._directory(state, changed.draft.run.working_dir)
        return Job(says=says, inputs=inputs, act=act, container=self._site.new_id())

    def _directory(self, state: State, path: str) -> Callable[[Path], None]:
        """Make the directory of a WORKDIR if it is not there: the user's own as in BuildKit, so that a RUN can write to it.

        It is root's, as in BuildKit, where nobody knows the user's name.
        """

        def act(upper: Path) -> None:
            lowers = state.lowers(self._site.parts.images)
            owner = None
            with suppress(Invalid):
                owner = find_owner(state.draft.run.user or "0", lowers, self._site.new_folder)
            how = Delivery(destination=destination("/", f"{path}/"), owner=owner, now=self._site.parts.clock())
            place(upper, lowers, (), how, folder=True)

        return act

    def _cached(self, key: str, after: State, job: Job) -> Image | None:
        if self._site.request.no_cache:
            return None
        images = self._site.parts.images
        known = self._site.parts.cache.find(key)
        if known is not None:
            try:
                images.hold(known, self._site.holder)
                image = images.get(known)
            except NotFound:
                self._site.parts.cache.forget((known,))
            else:
                self._site.hits.append(key)
                return image
        found = self._site.ancestry.find(after, job.says)
        if found is not None:
            images.hold(found.id, self._site.holder)
            self._site.parts.cache.put(key, found.id, job.says, self._site.parts.clock())
        return found

    def _make(self, after: State, job: Job, key: str, before: State) -> State:
        short = job.container[:12]
        if short:
            self._voice.running(short)
        try:
            layer = self._layer(job, before)
        except DeclarativeError:
            if short and self._site.request.force_remove:
                self._voice.removed(short)
            raise
        parts = self._site.parts
        made = make_image(parts.images, after, layer, job.says, parts.clock())
        if made.id is not None:
            parts.images.hold(made.id, self._site.holder)
            parts.cache.put(key, made.id, job.says, parts.clock())
        if short and self._site.request.remove:
            self._voice.removed(short)
        return made

    def _layer(self, job: Job, before: State) -> Layer | None:
        """Do the job in a folder of its own, and make a layer of what it left there; None where that is nothing."""
        if job.act is None:
            return None
        images = self._site.parts.images
        lowers = before.lowers(images)
        upper = self._site.new_folder() / "upper"
        upper.mkdir()
        status = lowers[0].stat() if lowers else None  # it is to be the root folder
        if status is not None:
            os.chown(upper, status.st_uid, status.st_gid)
        upper.chmod(status.st_mode & 0o7777 if status is not None else 0o755)
        job.act(upper)
        if not any(upper.iterdir()):
            return None
        return images.snapshots.commit(upper, lowers, "build step")

    def _lowers_of(self, origin: str, span: Span) -> tuple[str, tuple[Path, ...]]:
        """Give the id and the layers of what a `from` means: an earlier stage, or an image."""
        found = find_origin(origin, self._stage.index, self._recipe.stages, span)
        images = self._site.parts.images
        if found.stage is not None:
            state = self._result(found.stage)
            return str(state.id or SCRATCH), state.lowers(images)
        if found.image.lower() == SCRATCH:
            return SCRATCH, ()
        image = self._bases.find(found.image, self._site.request.platform, self._voice, span)
        return str(image.id), images.snapshots.lowers(image)
