"""Checks fixed addresses: the network must have a subnet that holds them, and nobody else the same one.

The rule that keeps it simple: only stated addresses are looked at; what an engine hands out on its own is its own affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from declarative.core.resources import Attachment
    from declarative.manifest.decode_document import Decoded
    from declarative.manifest.resolve import Known

_Claims = dict[tuple[str, str], "Decoded"]


def check_addresses(known: Known) -> None:
    """Complain about fixed addresses that cannot be given, and about those that two containers want."""
    claims: _Claims = {}
    for document in known.sound("Container", "Job"):
        for name, attachment in document.resource.spec.networks.items():
            if attachment.ipv4_address or attachment.ipv6_address:
                _check(document, name, attachment, known, claims)


def _check(document: Decoded, name: str, attachment: Attachment, known: Known, claims: _Claims) -> None:
    for field in ("ipv4_address", "ipv6_address"):
        address = getattr(attachment, field)
        if not address:
            continue
        place = document.tree.place(f"spec.networks.{name}.{field}")
        problem, remedy = _unfit(document, name, address, known)
        earlier = claims.setdefault((name, address), document)
        if problem:
            document.reading.complain(place, problem, remedy)
        elif earlier is not document:
            other = earlier.tree.at(f"spec.networks.{name}.{field}")
            text = f"{address} is the address of {earlier.subject} too, at {other}"
            document.reading.complain(place, text, "give it another one")


def _unfit(document: Decoded, name: str, address: str, known: Known) -> tuple[str, str]:
    """Say why the address cannot be given, and the way out; ("", "") if it can."""
    if getattr(document.resource, "replicas", 1) > 1:
        return f"{document.resource.replicas} replicas cannot have one address", "remove it, or set replicas: 1"
    network = known.named("Network").get(name)
    if network is None or network.resource is None or network.resource.spec.external:
        return "", ""
    subnet = network.resource.spec.subnet
    if not subnet:
        return f"the network {name} has no subnet of its own, so no address of it can be fixed", "state its subnet"
    import ipaddress  # only manifests with fixed addresses pay for it

    inside = ipaddress.ip_network(subnet)
    found = ipaddress.ip_address(address)
    if found.version == inside.version and found not in inside:
        return (
            f"{address} is not in {subnet}, the subnet of {name} ({network.tree.at('spec.subnet')})",
            "choose one that is",
        )
    return "", ""
