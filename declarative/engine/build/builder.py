"""The builder: from a request and a context to an image.

The rule that keeps it simple: first everything is read, and whatever is wrong with it is said before the build speaks; then the
stages are built; then the result gets its names. Each build has a folder of its own, gone at its end; what a crash leaves, the
next start removes.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from declarative.engine.build import commands as c
from declarative.engine.build.bases import Bases, stage_platform
from declarative.engine.build.cache_from import Ancestry
from declarative.engine.build.context import Context
from declarative.engine.build.leftovers import Leftovers
from declarative.engine.build.output import Console, Made, Text, Voice
from declarative.engine.build.remote import take_remote
from declarative.engine.build.run_mounts import RunMounts
from declarative.engine.build.run_network import RunNetwork
from declarative.engine.build.running import Surroundings, make_bottom
from declarative.engine.build.scope import Scope, platform_arguments, unused
from declarative.engine.build.site import Parts, Site
from declarative.engine.build.solver import Solver, Stop
from declarative.engine.build.stage_work import StageWork
from declarative.engine.build.stages import NO_STAGE, SCRATCH, needed, own_triggers, read_recipe, triggers
from declarative.engine.runtime.rootfs import mounts_below, unmount
from declarative.errors import Failed, Invalid, NotFound
from declarative.oci.dockerfile.lexer import lex
from declarative.oci.platform import Platform
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from declarative.engine.build.output import Message
    from declarative.engine.build.request import BuildRequest
    from declarative.engine.build.stages import Numbered, Recipe
    from declarative.engine.build.state import State
    from declarative.engine.images.image import Image
    from declarative.oci.digest import Digest
    from declarative.oci.dockerfile.lexer import Source

_T = TypeVar("_T")
_LINE = re.compile(r"^[^:]*:(\d+)")


@record
class Ready:
    """A build that may begin: everything of the client's has been read."""

    request: BuildRequest
    site: Site
    recipe: Recipe
    declared: frozenset[str]
    warnings: tuple[str, ...] = ()


@record
class Base:
    """What a stage starts from: an image, or None for scratch and for another stage; and the triggers that come with it."""

    image: Image | None
    platform: Platform
    triggers: tuple[Numbered, ...] = ()


class Builder:
    """Builds images. Safe to use from several threads."""

    def __init__(self, parts: Parts) -> None:
        """Remove what a crash left of builds before."""
        self.parts = parts
        self._root = parts.settings.paths.build
        self._work = self._root / "work"
        self._caches = self._root / "cache"
        self._sweep()
        self._bottom = make_bottom(self._root / "bottom")
        self.leftovers = Leftovers(parts.images, parts.cache, self._caches)

    def build(
        self,
        request: BuildRequest,
        body: Iterable[bytes],
        sink: Callable[[Message], None],
        gone: Callable[[], bool] = lambda: False,
    ) -> Digest:
        """Build an image and give its id.

        Invalid, in the words of Docker, for what is wrong with Dockerfile or context: before `sink` hears anything. Afterwards
        Failed (CommandFailed with a code), NotFound, Unavailable and so on; Interrupted where `gone` says that nobody waits.
        """
        stop = Stop(gone)
        with ExitStack() as stack:
            ready = self.prepare(request, body, stop, stack)
            return self.run(ready, sink)

    def prepare(self, request: BuildRequest, body: Iterable[bytes], stop: Stop, stack: ExitStack) -> Ready:
        """Read context and Dockerfile. What it makes goes with `stack`."""
        name = secrets.token_hex(4)
        folder = self._work / name
        folder.mkdir(mode=0o711, parents=True)
        stack.callback(_remove, folder)
        context = Context.in_folder(self._root)
        stack.callback(context.close)
        target = request.platform or Platform.local()
        header = platform_arguments(Platform.local(), target, request.target or "default")
        holder = f"build/{name}"
        stack.callback(self.parts.images.release, holder)
        scope = Scope(given=request.args, header=header)
        site = Site(
            self.parts,
            request,
            context,
            folder=folder,
            stop=stop,
            holder=holder,
            scope=scope,
            ancestry=Ancestry(self.parts.images, request.cache_from),
        )
        source = self._take(site, body)
        recipe = _parsed(lambda: read_recipe(source, _with_escape(scope, source), request.target, request.labels))
        site.scope = recipe.scope
        warnings = tuple(each.original for each in source.instructions if each.gap)
        return Ready(request=request, site=site, recipe=recipe, declared=_declared(source), warnings=warnings)

    def run(self, ready: Ready, sink: Callable[[Message], None]) -> Digest:
        """Build what was prepared, and give it its names. Failed where a step fails, or there is none."""
        site, request = ready.site, ready.request
        if ready.warnings:
            Voice(sink, 0).err(_gap_warning(ready.warnings).encode())
        try:
            run = _Run(self, ready, sink)
            state = run.run()
        finally:
            self.parts.cache.note_hits(site.hits, self.parts.clock())
        if state.id is None:
            raise Failed("", "No image was generated. Is your Dockerfile empty?")
        left = unused(request.args, ready.declared | run.asked)
        if left:
            sink(Text(text=f"[Warning] One or more build-args [{' '.join(left)}] were not consumed\n"))
        sink(Text(text=f"Successfully built {state.short}\n"))
        for reference in request.tags:
            tagged = reference if reference.tag else reference.with_tag("latest")
            self.parts.images.tag(state.id, tagged)
            sink(Text(text=f"Successfully tagged {tagged.familiar()}\n"))
        return state.id

    def surroundings(self, site: Site) -> Surroundings:
        """Give what the commands of one stage share."""
        return Surroundings(network=RunNetwork(site), mounts=RunMounts(site, self._caches), bottom=self._bottom)

    def _take(self, site: Site, body: Iterable[bytes]) -> Source:
        request, context = site.request, site.context
        name = request.dockerfile
        if request.remote:
            name = take_remote(request.remote, context, name, site.new_folder, site.stop, site.parts.settings.proxies)
        else:
            context.take(body)
        content = context.content(os.fsencode(name))
        if content is None and name == "Dockerfile":
            content = context.content(b"dockerfile")
        if content is None:
            raise Invalid("", f"Cannot locate specified Dockerfile: {name}")
        if not content.strip():
            raise Invalid("", f"the Dockerfile ({name}) cannot be empty")
        # what is not UTF-8 could reach neither the image's configuration nor the OCI runtime's
        text = content.decode("utf-8", "replace").encode()
        source = _parsed(lambda: lex(text, name))
        context.obey_ignore_file()
        return source

    def _sweep(self) -> None:
        self._work.mkdir(mode=0o711, parents=True, exist_ok=True)
        for left in self._work.iterdir():
            _remove(left)


class _Run:
    """One build on its way."""

    def __init__(self, builder: Builder, ready: Ready, sink: Callable[[Message], None]) -> None:
        self._builder = builder
        self._site = ready.site
        self._recipe = ready.recipe
        self._sink = sink
        self._bases = Bases(builder.parts, ready.request, ready.site.holder, ready.site.stop)
        self._first = 0
        """The stage that speaks first: its FROM is announced before anything is pulled."""
        self.asked: set[str] = set()
        """The build arguments that ARGs of triggers have asked for."""

    def run(self) -> State:
        """Build every stage that is needed; give what the target came to."""
        recipe = self._recipe
        head = Voice(self._sink, recipe.total)
        for numbered in recipe.header:
            head.step(numbered.number, numbered.text)
        found: dict[int, Base] = {}
        wanted = needed(recipe)
        self._first = min(wanted)
        while left := sorted(wanted - found.keys()):
            found |= {index: self._base(index) for index in left}
            wanted = needed(recipe, {index: base.triggers for index, base in found.items()})
        order = sorted(wanted)
        console = Console(self._sink, order, self._site.stop.__bool__)
        solver = Solver(order, lambda index, own: self._stage(index, own, console, found[index]), self._site.stop)
        result = solver.run()
        self._site.stop.check()
        return result[recipe.target.index]

    def _base(self, index: int) -> Base:
        """Look up what a stage starts from, and its triggers. Pulls tell at once, before any stage is at work."""
        stage = self._recipe.stages[index]
        platform = stage_platform(stage.platform, self._site.request, stage.span)
        voice = Voice(self._sink, self._recipe.total)
        if index == self._first:
            voice.step(stage.number, stage.text)
        image: Image | None = None
        texts: tuple[str, ...] = ()
        if stage.parent is not None:
            texts = own_triggers(self._recipe.stages[stage.parent])
        elif stage.base.lower() != SCRATCH:
            image = self._bases.find(stage.base, platform, voice, stage.span)
            texts = image.config.run.on_build
        steps = triggers(texts, self._recipe.scope.escape, f"trigger of {stage.base}")
        for numbered in steps:
            if isinstance(numbered.step, c.Arg):
                self.asked |= {pair.name for pair in numbered.step.pairs}
        return Base(image=image, platform=platform or Platform.local(), triggers=steps)

    def _stage(self, index: int, solver: Solver[State], console: Console, base: Base) -> State:
        def say(message: Message) -> None:
            console.say(index, message)

        around = self._builder.surroundings(self._site)
        stage = self._recipe.stages[index]
        voice = Voice(say, self._recipe.total)
        if index != self._first:
            voice.step(stage.number, stage.text)
        try:
            work = StageWork(
                self._site, self._recipe, stage, voice, bases=self._bases, around=around, result=solver.result
            )
            state = work.run(base.image, base.platform, base.triggers)
            if state.id is not None:
                say(Made(id=str(state.id)))
        except BaseException:
            console.fail(index)
            raise
        finally:
            around.network.close()
        console.finish(index)
        return state


def _parsed(read: Callable[[], _T]) -> _T:
    """Say what is wrong with a Dockerfile as Docker does, with its line."""
    try:
        return read()
    except NotFound as error:
        raise Invalid("", error.problem, error.remedy) from error
    except Invalid as error:
        if error.problem == NO_STAGE:  # of the whole file; dockerd names no line
            raise
        line = _LINE.match(error.place)
        where = f" line {line[1]}" if line else ""
        raise Invalid("", f"dockerfile parse error{where}: {error.problem}", error.remedy) from error


def _gap_warning(texts: tuple[str, ...]) -> str:
    found = "".join(f"[WARNING]: Empty continuation line found in:\n    {text}\n" for text in texts)
    return f"{found}[WARNING]: Empty continuation lines will become errors in a future release.\n"


def _with_escape(scope: Scope, source: Source) -> Scope:
    return Scope(given=scope.given, header=scope.header, escape=source.escape)


def _declared(source: Source) -> frozenset[str]:
    found = set()
    for instruction in source.instructions:
        each = instruction.trigger or instruction
        if each.name == "ARG":
            found |= {word.partition("=")[0] for word in each.args}
    return frozenset(found)


def _remove(folder: Path) -> None:
    """Remove a build's folder; whatever is still mounted in it first."""
    for point in mounts_below(folder):
        unmount(point)
    shutil.rmtree(folder, ignore_errors=True)
