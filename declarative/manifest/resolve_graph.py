"""Finds cycles among containers and jobs, and among images, and shows each with the place of every hop.

The rule that keeps it simple: depth-first search without recursion, over names; each cycle is reported from its
first name on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.resources import BuildSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from declarative.core.resources import Desired
    from declarative.manifest.decode_document import Decoded
    from declarative.manifest.resolve import Known

Edges = dict[str, str]
"""Name of what is needed → path in the spec that says so."""


def check_cycles(known: Known) -> None:
    """Complain about every cycle of dependencies."""
    documents = {document.name: document for document in known.sound("Container", "Job")}
    graph = {name: _edges(document, documents) for name, document in documents.items()}
    if not any(graph.values()):
        return
    for cycle in find_cycles(graph):
        _report(cycle, graph, documents)


def check_image_cycles(known: Known, desired: Desired) -> None:
    """Complain about images that are built on one another, or on themselves."""
    sources = (image.spec.source for image in desired.images.values())
    if not any(isinstance(source, BuildSource) and source.bases for source in sources):
        return  # as where only names are read; the planner takes a while to import
    from declarative.core.planner.makers import bases_of

    graph: dict[str, Edges] = {name: {} for name in desired.images}
    for image, _, maker in bases_of(desired):
        graph[image.name][maker.name] = "spec.build"
    if any(graph.values()):
        for cycle in find_cycles(graph):
            _report(cycle, graph, known.named("Image"))


def _edges(document: Decoded, documents: Mapping[str, Decoded]) -> Edges:
    edges = {name: f"spec.depends_on.{name}" for name in document.resource.depends_on if name in documents}
    for field in ("network_mode", "pid", "ipc"):
        mode = getattr(document.resource.spec, field) or ""
        name = mode.removeprefix("container:")
        # A container that names itself is complained about where references are checked.
        if name != mode and name in documents and name != document.name:
            edges.setdefault(name, f"spec.{field}")
    return edges


def find_cycles(graph: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """Give a cycle for every edge that closes one in depth-first order: at least one where there is any."""
    done: set[str] = set()
    for start in graph:
        if start in done:
            continue
        path, waiting = [start], {start: iter(graph[start])}
        while path:
            needed = next(waiting[path[-1]], None)
            if needed is None:
                done.add(path[-1])
                del waiting[path.pop()]
            elif needed in waiting:
                yield tuple(path[path.index(needed) :])
            elif needed not in done:
                path.append(needed)
                waiting[needed] = iter(graph[needed])


def _report(cycle: tuple[str, ...], graph: Mapping[str, Mapping[str, str]], documents: Mapping[str, Decoded]) -> None:
    hops = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
    shown = " → ".join((*cycle, cycle[0]))
    first = documents[cycle[0]]
    places = "; ".join(
        f"{name} needs {needed} at {documents[name].tree.place_of(graph[name][needed], needed)}"
        for name, needed in hops
    )
    place = first.tree.place(graph[cycle[0]][hops[0][1]].removesuffix(f".{hops[0][1]}"), hops[0][1])
    first.reading.complain(place, f"the dependencies form a cycle: {shown}", f"remove one of these: {places}")
