"""What depends on what in a stack: resources as nodes, references as edges, and three drawings of them.

The rule that keeps it simple: an edge goes from what needs to what is needed, as a manifest is read; whoever draws turns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.planner.makers import bases_of
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from declarative.core.resources import Container, ContainerSpec, Desired, Job

_NAMESPACES = ("network_mode", "pid", "ipc")


@record(order=True)
class Edge:
    """`source` needs `target`, both named "Container/web"; `reason` says for what: "image", "healthy", "network"."""

    source: str
    target: str
    reason: str


@record
class Graph:
    """All resources of a stack in the order of their kinds, and what they need of each other."""

    stack: str
    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]

    def needs(self, node: str) -> tuple[Edge, ...]:
        """Give what a node needs."""
        return tuple(edge for edge in self.edges if edge.source == node)

    def around(self, targets: Iterable[str]) -> Graph:
        """Give the part of the graph that `targets` are, and all they need, directly or not."""
        waiting, kept = list(targets), set()
        needed: dict[str, list[str]] = {}
        for edge in self.edges:
            needed.setdefault(edge.source, []).append(edge.target)
        while waiting:
            if (node := waiting.pop()) not in kept:
                kept.add(node)
                waiting += needed.get(node, ())
        nodes = tuple(node for node in self.nodes if node in kept)
        return Graph(stack=self.stack, nodes=nodes, edges=tuple(edge for edge in self.edges if edge.source in kept))


def graph_of(desired: Desired) -> Graph:
    """Read the graph out of a stack."""
    pools: Mapping[str, Iterable[str]] = {
        "Image": desired.images,
        "TagScheme": desired.schemes,
        "Network": desired.networks,
        "Volume": desired.volumes,
        "Job": desired.jobs,
        "Container": desired.containers,
    }
    nodes = tuple(f"{kind}/{name}" for kind, names in pools.items() for name in names)
    edges = dict.fromkeys(edge for edge in _edges(desired) if edge.source != edge.target)
    return Graph(stack=desired.stack, nodes=nodes, edges=tuple(edges))


def _edges(desired: Desired) -> Iterator[Edge]:
    for image, _, maker in bases_of(desired):
        yield Edge(source=f"Image/{image.name}", target=f"Image/{maker.name}", reason="base")
    for scheme in desired.schemes.values():
        yield Edge(source=f"TagScheme/{scheme.name}", target=f"Image/{scheme.spec.image}", reason="image")
    for kind, pool in (("Job", desired.jobs), ("Container", desired.containers)):
        for resource in pool.values():
            yield from _of_container(f"{kind}/{resource.name}", resource, desired)


def _of_container(source: str, resource: Container | Job, desired: Desired) -> Iterator[Edge]:
    spec = resource.spec
    if spec.image.image:
        yield Edge(source=source, target=f"Image/{spec.image.image}", reason="image")
    if spec.image.scheme:
        yield Edge(source=source, target=f"TagScheme/{spec.image.scheme}", reason=f"image, track {spec.image.track}")
    for name in spec.networks:
        if name in desired.networks:
            yield Edge(source=source, target=f"Network/{name}", reason="network")
    for mount in spec.volumes:
        if mount.type == "volume" and mount.source in desired.volumes:
            yield Edge(source=source, target=f"Volume/{mount.source}", reason=f"volume at {mount.target}")
    for name, condition in resource.depends_on.items():
        yield Edge(source=source, target=_runner(name, desired), reason=condition)
    yield from _shared(source, spec, desired)


def _shared(source: str, spec: ContainerSpec, desired: Desired) -> Iterator[Edge]:
    """Give the edges of `network_mode: container:NAME` and its like."""
    for field in _NAMESPACES:
        mode = getattr(spec, field) or ""
        name = mode.removeprefix("container:")
        if name != mode and (name in desired.containers or name in desired.jobs):
            yield Edge(source=source, target=_runner(name, desired), reason=field)


def _runner(name: str, desired: Desired) -> str:
    return f"Job/{name}" if name in desired.jobs else f"Container/{name}"


# ---- drawings ----------------------------------------------------------------------------------------------------


def text(graph: Graph) -> str:
    """Draw a tree below every resource that nothing needs. What was drawn before is named again, without its branches."""
    needed = {edge.target for edge in graph.edges}
    drawn: set[str] = set()
    lines: list[str] = []
    for node in graph.nodes:
        if node not in needed:
            lines.append(node)
            _branches(graph, node, "", drawn, lines)
    return "".join(f"{line}\n" for line in lines)


def _branches(graph: Graph, node: str, indent: str, drawn: set[str], lines: list[str]) -> None:
    drawn.add(node)
    edges = graph.needs(node)
    for number, edge in enumerate(edges, start=1):
        last = number == len(edges)
        again = " …" if edge.target in drawn and graph.needs(edge.target) else ""
        lines.append(f"{indent}{'└─' if last else '├─'} {edge.target} ({edge.reason}){again}")
        if edge.target not in drawn:
            _branches(graph, edge.target, indent + ("   " if last else "│  "), drawn, lines)


_SHAPES = {
    "Image": "box3d",
    "TagScheme": "note",
    "Network": "hexagon",
    "Volume": "cylinder",
    "Job": "cds",
    "Container": "box",
}


def dot(graph: Graph) -> str:
    """Draw for Graphviz: what is needed points to what needs it, as the order of an apply goes."""
    lines = [f"digraph {_quoted(graph.stack)} {{", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    lines += [f"  {_quoted(node)} [shape={_SHAPES[node.partition('/')[0]]}];" for node in graph.nodes]
    lines += [
        f"  {_quoted(edge.target)} -> {_quoted(edge.source)} [label={_quoted(edge.reason)}];" for edge in graph.edges
    ]
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


_BRACKETS = {
    "Image": ("[[", "]]"),
    "TagScheme": (">", "]"),
    "Network": ("{{", "}}"),
    "Volume": ("[(", ")]"),
    "Job": ("([", "])"),
    "Container": ("[", "]"),
}


def mermaid(graph: Graph) -> str:
    """Draw for Mermaid, as READMEs show it; nodes are numbered, for names may hold what Mermaid reads as syntax."""
    ids = {node: f"n{number}" for number, node in enumerate(graph.nodes, start=1)}
    lines = ["flowchart LR"]
    for node, name in ids.items():
        opening, closing = _BRACKETS[node.partition("/")[0]]
        lines.append(f"  {name}{opening}{_entity(node)}{closing}")
    lines += [f"  {ids[edge.target]} -->|{_entity(edge.reason)}| {ids[edge.source]}" for edge in graph.edges]
    return "\n".join(lines) + "\n"


def _entity(text_: str) -> str:
    return '"' + text_.replace("#", "#35;").replace('"', "#quot;") + '"'


def document(graph: Graph) -> dict[str, Any]:
    """Give the JSON form, whose shape `schemas/graph.schema.json` publishes."""
    return {
        "stack": graph.stack,
        "nodes": [{"id": node, "kind": node.partition("/")[0], "name": node.partition("/")[2]} for node in graph.nodes],
        "edges": [{"from": edge.source, "to": edge.target, "reason": edge.reason} for edge in graph.edges],
    }
