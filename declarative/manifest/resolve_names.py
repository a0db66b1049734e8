"""Checks that no two resources want the same thing: a name, an engine's name, a port of the host.

The rule that keeps it simple: each check is one dictionary from what is wanted to who wants it first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.state import SUFFIX_NEW, SUFFIX_OLD

if TYPE_CHECKING:
    from declarative.core.resources import Port
    from declarative.manifest.decode_document import Decoded
    from declarative.manifest.resolve import Known

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
_OWN_SPACE = {"Container": "Container or Job", "Job": "Container or Job"}


def check_duplicates(documents: tuple[Decoded, ...]) -> None:
    """Complain about the second of two documents with one kind and name; containers and jobs share one space of names."""
    first: dict[tuple[str, str], Decoded] = {}
    for document in documents:
        if not document.name or not document.kind:
            continue
        key = (_OWN_SPACE.get(document.kind, document.kind), document.name)
        earlier = first.setdefault(key, document)
        if earlier is not document:
            text = f"there is a {earlier.kind} of this name already, at {earlier.tree.at('metadata.name')}"
            document.reading.complain(document.tree.place("metadata.name"), text, "rename one of them")


def check_ports(documents: list[Decoded]) -> None:
    """Complain about two containers that publish one port of the host."""
    first: dict[tuple[int, str], list[tuple[Port, Decoded]]] = {}
    for document in documents:
        # Nobody listens for a container that is scaled to nothing.
        ports = document.resource.spec.ports if getattr(document.resource, "replicas", 1) else ()
        for port in ports:
            if not port.published:
                continue
            claims = first.setdefault((port.published, port.protocol), [])
            rival = next((owner for other, owner in claims if _meet(other.host_ip, port.host_ip)), None)
            claims.append((port, document))
            if rival is not None:
                text = f"port {port.published}/{port.protocol} of the host is published twice"
                other = f"{rival.subject} has it too, at {rival.tree.at('spec.ports')}"
                remedy = "publish another port" if rival is document else f"{other}; publish another port"
                document.reading.complain(document.tree.place("spec.ports"), text, remedy)


def _meet(one: str, other: str) -> bool:
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE


def check_engine_names(known: Known, stack: str) -> None:
    """Complain about two resources that the engine would know by one name."""
    users = known.sound("Container", "Job")
    # Names made of the stack's and the resource's are distinct, so only given ones can meet others.
    if any(document.resource.container_name for document in users):
        _check_containers(users, stack)
    for kind in ("Network", "Volume"):
        first: dict[str, Decoded] = {}
        for document in known.sound(kind):
            name = document.resource.engine_name(stack)
            _claim(first, name, document, "spec.name")


def _check_containers(users: list[Decoded], stack: str) -> None:
    first: dict[str, Decoded] = {}
    for document in sorted(users, key=lambda user: bool(user.resource.container_name)):
        given = document.resource.container_name
        if given.endswith((SUFFIX_NEW, SUFFIX_OLD)):
            text = f"`{given}` ends as the names of replacements under way do"
            document.reading.complain(document.tree.place("spec.container_name"), text, "choose another name")
        for name in [given] if given else _generated(document, stack):
            _claim(first, name, document, "spec.container_name")


def _generated(document: Decoded, stack: str) -> list[str]:
    if document.kind == "Job":
        return [document.resource.engine_name(stack)]
    return [document.resource.engine_name(stack, index) for index in range(1, document.resource.replicas + 1)]


def _claim(first: dict[str, Decoded], name: str, document: Decoded, path: str) -> None:
    earlier = first.setdefault(name, document)
    if earlier is not document:
        text = f"the engine's name `{name}` is that of {earlier.subject} too, at {earlier.tree.at(path)}"
        document.reading.complain(document.tree.place(path), text, "give one of them another name")
