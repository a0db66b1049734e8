"""The driver of an engine in memory. See `drivers.port` for what it promises.

The rule: each action is one change of `MemoryEngine`; "already so" is decided here, as the port defines it.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Self, assert_never

from declarative.core import actions as do
from declarative.core import canonical
from declarative.core.build_label import known_by, write_inputs
from declarative.core.secret import Secret
from declarative.core.state import LABEL_BUILD, LABEL_REVISION, ImageConfig, Owner
from declarative.drivers.docker.image_read import familiar
from declarative.drivers.docker.labels import KIND_HISTORY, owned_labels
from declarative.drivers.holder import certainly_dead
from declarative.drivers.memory import snapshot
from declarative.drivers.memory.dockerfile import built_config
from declarative.drivers.memory.engine import MemoryEngine, Net, Picture
from declarative.drivers.memory.registry import Published
from declarative.drivers.port import LogLine, Observed, Progress
from declarative.errors import Conflict, LockHeld, NotFound, Unsupported
from declarative.oci.reference import Reference
from declarative.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from declarative.core.resources import ContainerSpec
    from declarative.core.state import Actual, Canonical, ContainerState, Revision, Scope
    from declarative.drivers.port import BuildFailed, FileChange, Lease, Streams

_SALT = "memory"


class MemoryDriver:
    """Drives a MemoryEngine; several drivers may share one, as several processes share a daemon."""

    def __init__(self, engine: MemoryEngine | None = None) -> None:
        self.engine = engine or MemoryEngine()

    @property
    def address(self) -> str:
        """Where the engine is, for messages."""
        return "memory"

    def snapshot(self, scope: Scope) -> Actual:
        """Look at everything in `scope` and everything its stack owns."""
        return snapshot.take(self.engine, scope)

    def execute(self, action: do.Action, progress: Callable[[Progress], None]) -> None:  # noqa: PLR0912, PLR0915 - one table
        """Do one action, to its end."""
        progress(Progress(text=type(action).__name__))
        engine = self.engine
        with engine.change(*_named(action)):
            match action:
                case do.BuildImage():
                    self._build(action)
                case do.PullImage():
                    self._pull(action.reference)
                case do.ImportImage():
                    labels = {**owned_labels(action.owner), LABEL_BUILD: write_inputs({"rootfs": action.source.digest})}
                    self._keep(ImageConfig(labels=labels), f"rootfs {action.source.digest}", action.references)
                case do.LoadImage():
                    self._keep(ImageConfig(), action.source.image_id, action.references, action.source.image_id)
                case do.TagImage():
                    engine.references[familiar(action.reference)] = engine.image(_key(action.source)).id
                case do.UntagImage():
                    engine.drop_reference(familiar(action.reference))
                case do.PushImage():
                    self._push(action.reference)
                case do.RetagRemote():
                    published = engine.registry.find(f"{action.repository}:{action.source}")
                    engine.registry.store(f"{action.repository}:{action.tag}", published)
                case do.UntagRemote():
                    engine.registry.remove(action.repository, action.tag)
                case do.CreateNetwork():
                    self._create_network(action)
                case do.RemoveNetwork():
                    engine.remove_network(action.name)
                case do.CreateVolume():
                    self._create_volume(action)
                case do.RemoveVolume():
                    engine.remove_volume(action.name)
                case do.CreateContainer():
                    self._create_container(action)
                case do.StartContainer():
                    engine.start(action.name)
                case do.StopContainer():
                    engine.stop(action.name)
                case do.RestartContainer():
                    engine.stop(action.name)
                    engine.start(action.name)
                case do.RemoveContainer():
                    engine.remove(action.name, volumes=action.volumes)
                case do.RenameContainer():
                    self._rename(action)
                case do.UpdateContainer():
                    engine.update(action.name, action.resources, action.restart)
                case do.ConnectNetwork():
                    engine.connect(action.container, action.network, action.attachment)
                case do.DisconnectNetwork():
                    engine.disconnect(action.container, action.network)
                case do.WriteRevision():
                    self._write_revision(action)
                case _:
                    assert_never(action)

    # ---- images

    def _build(self, action: do.BuildImage) -> None:
        source, engine = action.source, self.engine
        parts = dict(source.parts)
        for base in source.bases:
            if _key(base) not in engine.references:
                self._pull(base)
            found, name = engine.image(_key(base)), familiar(base)
            parts[f"base:{name}"] = (known_by(found.labels) if name in action.made else "") or found.id
        labels = {**source.labels, **owned_labels(action.owner), LABEL_BUILD: write_inputs(parts)}
        subject = f"image {action.references[0] if action.references else action.owner.name}"
        config = built_config(source, lambda base: engine.image(_key(base)).config, labels, subject)
        self._keep(config, f"build {write_inputs(parts)} {source.dockerfile_inline}", action.references)

    def _keep(self, config: ImageConfig, seed: str, references: tuple[str, ...], identity: str = "") -> None:
        identity = identity or "sha256:" + hashlib.sha256(f"{seed} {config!r}".encode()).hexdigest()
        engine = self.engine
        engine.images.setdefault(
            identity, Picture(id=identity, config=config, labels=config.labels, created=engine.clock())
        )
        for reference in references:
            engine.references[familiar(reference)] = identity

    def _pull(self, reference: str) -> None:
        engine, parsed = self.engine, Reference.parse(reference).addressed()
        published = engine.registry.find(reference)
        picture = engine.images.setdefault(
            published.image_id,
            Picture(id=published.image_id, config=published.config, labels=published.labels, created=engine.clock()),
        )
        picture.digests[parsed.repository] = published.digest
        if parsed.tag is not None:
            engine.references[familiar(reference)] = picture.id

    def _push(self, reference: str) -> None:
        picture = self.engine.image(_key(reference))
        published = Published(image_id=picture.id, config=picture.config, labels=picture.labels)
        self.engine.registry.store(reference, published)
        picture.digests[Reference.parse(reference).repository] = published.digest

    def prepare(self, action: do.WriteRevision) -> None:
        """Do nothing: a revision is written at once."""

    def give_up(self, action: do.WriteRevision) -> None:
        """Do nothing."""

    def _write_revision(self, action: do.WriteRevision) -> None:
        owner = Owner(stack=action.stack, kind=KIND_HISTORY, name=str(action.number))
        labels = {**action.labels, **owned_labels(owner), LABEL_REVISION: str(action.number)}
        config, reference = ImageConfig(labels=labels), f"declarative-history/{action.stack}:{action.number}"
        self.engine.drop_reference(reference)
        self._keep(config, f"{self.engine.clock()} {sorted(action.files.items())}", (reference,))
        self.engine.image(reference).files = dict(action.files)

    # ---- networks, volumes, containers

    def _create_network(self, action: do.CreateNetwork) -> None:
        there = self.engine.networks.get(action.name)
        if there is None:
            spec = replace(action.spec, driver=action.spec.driver or "bridge", external=False, name="")
            if spec.subnet is None:
                subnet = len(self.engine.networks) + 18
                spec = replace(spec, subnet=f"172.{subnet}.0.0/16", gateway=f"172.{subnet}.0.1")
            identity = self.engine.fresh()
            self.engine.networks[action.name] = Net(
                id=identity, spec=spec, owner=action.owner, applied=_label(action.applied)
            )
        elif not _same(there.owner, there.applied, action.owner, action.applied):
            raise Conflict(f"network {action.name}", "another network has this name", "choose another name")

    def _create_volume(self, action: do.CreateVolume) -> None:
        engine = self.engine
        if action.name not in engine.volumes:
            store = engine.add_volume(action.name)
            store.spec = replace(action.spec, driver=action.spec.driver or "local", external=False, name="")
            store.owner, store.applied = action.owner, _label(action.applied)
            return
        there = engine.volumes[action.name]
        if not _same(there.owner, there.applied, action.owner, action.applied):
            raise Conflict(f"volume {action.name}", "another volume has this name", "choose another name")

    def _create_container(self, action: do.CreateContainer) -> None:
        engine, there = self.engine, self.engine.containers.get(action.name)
        if there is not None:
            if _same(there.owner, there.applied, action.owner, action.applied):
                return
            raise Conflict(f"container {action.name}", "another container has this name", "remove or rename it")
        reference = _key(action.spec.image.reference)
        spec = replace(action.spec, image=replace(action.spec.image, reference=reference))
        old = engine.containers.get(action.inherit)
        box = engine.create(action.name, spec, _files(spec), action.owner, _label(action.applied))
        for target, volume in (old.anonymous if old is not None else {}).items():
            if target in box.anonymous:
                engine.volumes.pop(box.anonymous[target])
                box.anonymous[target] = volume

    def _rename(self, action: do.RenameContainer) -> None:
        engine = self.engine
        done = action.name not in engine.containers and action.to in engine.containers
        if action.name != action.to and not (done and engine.containers[action.to].owner is not None):
            engine.rename(action.name, action.to)

    # ---- looking

    def observe(self, stack: str, names: Sequence[str]) -> Mapping[str, Observed]:
        """See how these containers are right now."""
        del stack
        with self.engine.guard:
            states = {name: self.inspect(name) for name in names if name in self.engine.containers}
        return {
            name: Observed(
                state=state.state,
                health=state.health,
                exit_code=state.exit_code,
                started=state.started,
                restarts=state.restarts,
                stack=state.owner.stack if state.owner else "",
            )
            for name, state in states.items()
        }

    def inspect(self, container: str) -> ContainerState:
        """See one container whole."""
        with self.engine.guard:
            return snapshot.container_state(self.engine, self.engine.box(container))

    def changes(self, container: str) -> tuple[FileChange, ...]:
        """List what a test says was changed."""
        return self.engine.box(container).changes

    def logs(
        self, containers: Sequence[str], *, follow: bool, tail: int | None, since: str, timestamps: bool
    ) -> Iterator[LogLine]:
        """Give what the programs print."""
        del follow, since
        for name in containers:
            box = self.engine.box(name)
            begun = "" if box.run is None or not timestamps else snapshot.rfc3339(box.run.begun)
            lines = box.program.output if box.run is not None else ()
            for text in lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]:
                yield LogLine(container=name, stream="stdout", text=text.encode(), time=begun)

    def last_output(self, container: str, lines: int) -> str:
        """Give the last lines a container printed."""
        box = self.engine.containers.get(container)
        return "" if box is None or box.run is None else "\n".join(box.program.output[-lines:])

    def revisions(self, stack: str) -> tuple[Revision, ...]:
        """List the history of a stack, oldest first."""
        return tuple(snapshot.revisions(self.engine, stack))

    def revision_files(self, stack: str, number: int) -> Mapping[str, str]:
        """Read the rendered manifests of one revision."""
        identity = self.engine.references.get(f"declarative-history/{stack}:{number}")
        if identity is None:
            known = ", ".join(str(revision.number) for revision in self.revisions(stack)) or "none"
            raise NotFound(f"stack {stack}", f"has no revision {number}", f"known revisions: {known}")
        return dict(self.engine.images[identity].files)

    def stacks(self) -> Iterable[str]:
        """Name every stack that owns something in this engine."""
        engine = self.engine
        pools = (engine.containers.values(), engine.networks.values(), engine.volumes.values())
        owners = [item.owner for pool in pools for item in pool]
        return sorted({owner.stack for owner in owners if owner is not None})

    def exec(
        self,
        container: str,
        command: Sequence[str],
        streams: Streams,
        *,
        user: str = "",
        workdir: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Nothing runs here."""
        del command, streams, user, workdir, environment
        raise Unsupported(f"container {container}", "the memory engine runs no programs", "use a real engine")

    def run(self, image: str, command: Sequence[str], streams: Streams) -> int:
        """Nothing runs here."""
        del command, streams
        raise Unsupported(f"image {image}", "the memory engine runs no programs", "use a real engine")

    def debug_image(self, action: do.BuildImage, failure: BuildFailed, progress: Callable[[Progress], None]) -> str:
        """Nothing is built step by step here."""
        del action, progress
        return failure.layer

    # ---- the lock

    def lock(self, stack: str, *, timeout: float, holder: Mapping[str, str]) -> Lease:
        """Take the stack's lock; one whose holder is dead is taken over."""
        end = time.monotonic() + timeout
        while True:
            with self.engine.guard:
                found = self.engine.locks.get(stack)
                if found is None or certainly_dead(found, holder):
                    self.engine.locks[stack] = dict(holder)
                    return MemoryLease(self.engine, stack, holder["nonce"])
            if time.monotonic() >= end:
                problem = (
                    f"{found.get('user')} on {found.get('host')} (process {found.get('pid')}) is applying this stack"
                )
                raise LockHeld(f"stack {stack}", problem, "wait until it is done")
            time.sleep(0.005)

    def close(self) -> None:
        """Let go of nothing."""


class MemoryLease:
    """A stack's lock while it is held."""

    def __init__(self, engine: MemoryEngine, stack: str, nonce: str) -> None:
        self._engine = engine
        self._stack = stack
        self._nonce = nonce

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with self._engine.guard:
            if self._engine.locks.get(self._stack, {}).get("nonce") == self._nonce:
                del self._engine.locks[self._stack]

    def check(self) -> None:
        """Raise LockHeld where somebody took the lock away from us."""
        if self._engine.locks.get(self._stack, {}).get("nonce") != self._nonce:
            raise LockHeld(f"stack {self._stack}", "another apply took the lock over", "run again")


def _named(action: do.Action) -> tuple[str, str]:
    for name in ("name", "container", "reference", "repository", "stack"):
        if found := getattr(action, name, ""):
            return type(action).__name__, found
    references = getattr(action, "references", ())
    return type(action).__name__, references[0] if references else ""


def _key(name: str) -> str:
    return name if name.startswith("sha256:") else familiar(name)


def _label(applied: Canonical) -> Canonical:
    """Send a spec through the form it has on a label."""
    return canonical.decode(canonical.encode(applied, _SALT)) or {}


def _same(owner: Owner | None, applied: Canonical | None, wanted: Owner, spec: Canonical) -> bool:
    if owner != wanted or applied is None or applied.keys() != spec.keys():
        return False
    return all(canonical.same(applied[path], spec[path]) for path in spec)


def _files(spec: ContainerSpec) -> dict[str, bytes]:
    return {
        entry.target: entry.content.reveal().encode() if isinstance(entry.content, Secret) else entry.content
        for entry in spec.files
    }
