"""What a snapshot has to look at for a stack, beside everything that the stack owns: worked out of the manifests, purely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.planner.names import familiar, repository_of
from declarative.core.resources import BuildSource, KeptSource, PullSource
from declarative.core.state import SUFFIX_NEW, SUFFIX_OLD, Scope
from declarative.errors import DeclarativeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from declarative.core.resources import ContainerSpec, Desired, Image, TagScheme


def scope_of(desired: Desired) -> Scope:
    """Say what to look at for `desired`."""
    schemes = desired.schemes.values()
    return Scope(
        stack=desired.stack,
        references=frozenset(_references(desired)),
        containers=frozenset(_containers(desired)),
        networks=frozenset(network.engine_name(desired.stack) for network in desired.networks.values()),
        volumes=frozenset(volume.engine_name(desired.stack) for volume in desired.volumes.values()),
        repositories=frozenset(repository_of(scheme.spec.repository) for scheme in schemes if scheme.spec.push),
        refresh=frozenset(familiar(ref) for image in desired.images.values() for ref in _refreshed(image)),
    )


def _references(desired: Desired) -> Iterator[str]:
    for container in desired.containers.values():
        yield from _run_by(container.spec, desired)
    for job in desired.jobs.values():
        yield from _run_by(job.spec, desired)
    for image in desired.images.values():
        yield from map(familiar, image.spec.references)
        if isinstance(image.spec.source, BuildSource):
            yield from map(familiar, image.spec.source.bases)
        if isinstance(image.spec.source, KeptSource):
            yield image.spec.source.image_id
        if isinstance(image.spec.source, PullSource):
            yield familiar(image.spec.source.reference)
    for scheme in desired.schemes.values():
        yield from written(scheme)


def _run_by(spec: ContainerSpec, desired: Desired) -> Iterator[str]:
    """Name what a container's image may be called in the engine."""
    if spec.image.reference:
        yield familiar(spec.image.reference)
    if spec.image.kept is not None:
        yield spec.image.kept.image_id
    if spec.image.scheme and (scheme := desired.schemes.get(spec.image.scheme)) is not None:
        from declarative.core.tags.rules import Rules
        from declarative.core.tags.scheme import track_tag

        try:
            yield familiar(f"{scheme.spec.repository}:{track_tag(Rules.of(scheme.spec), spec.image.track)}")
        except DeclarativeError:
            return  # the planner says what is wrong with it, at its place


def written(scheme: TagScheme) -> Iterator[str]:
    """Name the tags of the scheme's version."""
    from declarative.core.tags.rules import Rules
    from declarative.core.tags.scheme import tags_of

    if not scheme.spec.version:
        return
    try:
        for tag in tags_of(Rules.of(scheme.spec), scheme.spec.version):
            yield familiar(f"{scheme.spec.repository}:{tag}")
    except DeclarativeError:
        return  # as above


def _containers(desired: Desired) -> Iterator[str]:
    """Name the containers wanted, and the two names that a replacement uses on the way."""
    names = [
        container.engine_name(desired.stack, index)
        for container in desired.containers.values()
        for index in range(1, container.replicas + 1)
    ]
    for name in names:
        yield from (name, name + SUFFIX_NEW, name + SUFFIX_OLD)
    yield from (job.engine_name(desired.stack) for job in desired.jobs.values())


def _refreshed(image: Image) -> Iterator[str]:
    source = image.spec.source
    if isinstance(source, PullSource) and source.policy == "always":
        yield source.reference
