"""Makes one `Desired` of decoded documents: checks what they say about each other, and completes what needs the whole.

The rule that keeps it simple: every check goes over all resources and complains about each fault, with every place
that takes part. A document that is wrong in itself still counts as there, so that nobody is told twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Container, Desired, Job, Network, NetworkSpec
from declarative.manifest.fields.container import DEFAULT_NETWORK
from declarative.manifest.fields.container_blocks import OPEN
from declarative.manifest.resolve_addresses import check_addresses
from declarative.manifest.resolve_graph import check_cycles, check_image_cycles
from declarative.manifest.resolve_images import complete_images
from declarative.manifest.resolve_names import check_duplicates, check_engine_names, check_ports
from declarative.manifest.suggest import did_you_mean
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import Resource
    from declarative.errors import Problem
    from declarative.manifest.decode_document import Decoded


@record(kw_only=False)
class Known:
    """The documents of a stack by kind and name, the sound and the unsound ones."""

    documents: tuple[Decoded, ...]
    by_kind: Mapping[str, Mapping[str, Decoded]]
    joined: dict[tuple[str, ...], dict[str, Decoded]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: tuple[Decoded, ...]) -> Known:
        """Sort documents by kind; of two with one name the first counts."""
        by_kind: dict[str, dict[str, Decoded]] = {}
        for document in documents:
            by_kind.setdefault(document.kind, {}).setdefault(document.name, document)
        return cls(documents, by_kind)

    def named(self, *kinds: str) -> dict[str, Decoded]:
        """Give all documents of these kinds by name; made once, as every reference asks for it."""
        if kinds not in self.joined:
            found = {name: document for kind in kinds for name, document in self.by_kind.get(kind, {}).items()}
            self.joined[kinds] = found
        return self.joined[kinds]

    def sound(self, *kinds: str) -> list[Decoded]:
        """Give the documents of these kinds that became resources."""
        return [document for document in self.named(*kinds).values() if document.resource is not None]


def resolve(known: Known, stack: str, max_deletes: int | None = None) -> Desired:
    """Check and complete documents. What is wrong is added to their readings' problems; the result counts if nothing is."""
    check_duplicates(known.documents)
    complete_images(known, stack)
    for document in known.sound("Container", "Job"):
        _check_references(document, known)
    check_cycles(known)
    check_ports(known.sound("Container", "Job"))
    check_engine_names(known, stack)
    check_addresses(known)
    desired = _desired(known, stack, max_deletes)
    check_image_cycles(known, desired)
    return desired


def warnings_of(known: Known) -> tuple[Problem, ...]:
    """Name what is allowed and probably not meant: an image of the stack that is named as if it were a stranger's."""
    own = {reference: document for document in known.sound("Image") for reference in document.resource.spec.references}
    found: list[Problem] = []
    for document in known.sound("Container", "Job"):
        reference = document.resource.spec.image.reference
        if reference in own:
            text = f"spec.image: {reference} is made by {own[reference].subject}, but the plan cannot know it"
            remedy = f"write image: {{image: {own[reference].name}}}"
            node = document.tree.place("spec.image")
            found.append(document.reading.document(node).problem(node, document.subject, text, remedy))
    return tuple(found)


def _desired(known: Known, stack: str, max_deletes: int | None) -> Desired:
    def all_of(kind: str) -> dict[str, Any]:
        return {document.name: document.resource for document in known.sound(kind)}

    containers, jobs, networks = all_of("Container"), all_of("Job"), all_of("Network")
    users: list[Container | Job] = [*containers.values(), *jobs.values()]
    if DEFAULT_NETWORK not in networks and any(DEFAULT_NETWORK in user.spec.networks for user in users):
        networks[DEFAULT_NETWORK] = Network(name=DEFAULT_NETWORK, spec=NetworkSpec())
    return Desired(
        stack=stack,
        images=all_of("Image"),
        schemes=all_of("TagScheme"),
        containers=containers,
        jobs=jobs,
        networks=networks,
        volumes=all_of("Volume"),
        max_deletes=max_deletes,
    )


def _check_references(document: Decoded, known: Known) -> None:
    spec = document.resource.spec
    if spec.image.image:
        _refer(document, "spec.image.image", spec.image.image, known, "Image")
    if spec.image.scheme:
        _refer(document, "spec.image.scheme", spec.image.scheme, known, "TagScheme")
    for name in spec.networks:
        if name != DEFAULT_NETWORK:
            _refer(document, "spec.networks", name, known, "Network")
    for mount in spec.volumes:
        if mount.type == "volume" and mount.source:
            _refer(document, "spec.volumes", mount.source, known, "Volume")
    for name in ("network_mode", "pid", "ipc"):
        _check_shared_namespace(document, name, getattr(spec, name) or "", known)
    if document.resource.depends_on:
        _check_dependencies(document, known)


def _refer(document: Decoded, path: str, name: str, known: Known, *kinds: str) -> Decoded | None:
    """Give the document that is referred to, or complain."""
    named = known.named(*kinds)
    if name in named:
        return named[name]
    place = _place(document, path, name)
    document.reading.complain(place, f"there is no {' or '.join(kinds)} `{name}`", _remedy(name, named, kinds, known))
    return None


def _place(document: Decoded, path: str, name: str) -> Any:
    """Find where `name` is written; in a list of mounts it is a part of an item."""
    _, node, _ = document.tree.walk(path)
    if path == "spec.volumes":
        from declarative.manifest.yaml_nodes import Mapping, Scalar, Sequence

        for item in node.items if isinstance(node, Sequence) else ():
            if isinstance(item, Scalar) and item.text.startswith(f"{name}:"):
                return item
            source = item.get("source") if isinstance(item, Mapping) else None
            if isinstance(source, Scalar) and source.value == name:
                return source
    return document.tree.place(path, name)


def _remedy(name: str, named: Mapping[str, Resource | Any], kinds: tuple[str, ...], known: Known) -> str:
    if near := did_you_mean(name, named):
        return near
    for kind, others in known.by_kind.items():
        if name in others and kind not in kinds:
            return f"there is {name} of kind {kind}; declare a {kinds[0]}, or name another"
    if kinds[0] in {"Volume", "Network"}:
        head = "apiVersion: declarative/v1, kind: " + kinds[0]
        return f"add a document: {{{head}, metadata: {{name: {name}}}}}"
    return f"declare it, or name one of {', '.join(sorted(named))}" if named else f"declare a {kinds[0]} of that name"


def _check_shared_namespace(document: Decoded, field: str, mode: str, known: Known) -> None:
    if not mode.startswith("container:"):
        return
    name = mode.removeprefix("container:")
    found = _refer(document, f"spec.{field}", name, known, "Container")
    if found is None:
        return
    if found is document:
        document.reading.complain(document.tree.place(f"spec.{field}"), "a container cannot share its own namespace")
    elif found.resource is not None and found.resource.replicas != 1:
        text = f"`{name}` has {found.resource.replicas} replicas, it is not clear whose namespace is meant"
        document.reading.complain(
            document.tree.place(f"spec.{field}"), text, "share that of a container with one replica"
        )


def _check_dependencies(document: Decoded, known: Known) -> None:
    """Check names and conditions, and settle the conditions that nobody stated."""
    settled: dict[str, str] = {}
    for name, condition in document.resource.depends_on.items():
        found = _refer(document, "spec.depends_on", name, known, "Container", "Job")
        is_job = found is not None and found.kind == "Job"
        settled[name] = condition if condition != OPEN else "completed" if is_job else "started"
        place = document.tree.place(f"spec.depends_on.{name}.condition")
        if condition == "healthy" and is_job:
            document.reading.complain(place, f"`{name}` is a Job, which is never healthy", "write completed")
        if condition == "completed" and found is not None and not is_job:
            text = f"`{name}` is a Container, which is kept running and does not complete"
            document.reading.complain(place, text, "write started or healthy, or make it a Job")
    document.resource = replace(document.resource, depends_on=settled)
