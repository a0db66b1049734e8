"""The fields of a Network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.core.resources import Network, NetworkSpec
from declarative.manifest.decode import Field, Record
from declarative.manifest.decode_network import ADDRESS, subnet
from declarative.manifest.decode_scalars import Boolean, Text
from declarative.manifest.fields.external import EXTERNAL, check_external, name_field
from declarative.manifest.fields.table import TEXTS, Head, Table, add_labels, labels_field

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping

_SUBNET = Text("a network in CIDR form", clean=subnet)


def _check(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    if not check_external(values, node, reading):
        return values
    import ipaddress  # only manifests with subnets pay for it

    inside = ipaddress.ip_network(values["subnet"]) if "subnet" in values else None
    for name in ("gateway", "ip_range"):
        if name not in values:
            continue
        if inside is None:
            reading.complain(node.keys[name], "needs `subnet` beside it", "add subnet: ADDRESS/BITS")
            continue
        part = ipaddress.ip_network(values[name])
        if part.version != inside.version or not part.subnet_of(inside):  # type: ignore[arg-type]
            reading.complain(node.items[name], f"{values[name]} is not in {inside}", "choose one that is")
    return values


def _make(head: Head, values: dict[str, Any]) -> Network:
    if not values.get("external"):
        add_labels(head, values)
    return Network(name=head.name, spec=NetworkSpec(**values), places=head.tree)


NETWORK = Table(
    kind="Network",
    doc="A network that containers of the stack hang on; they find each other there by name.",
    spec=Record(
        "a network's spec",
        (
            Field(name="driver", type=Text("a driver"), doc="Network driver.", example="bridge", default="bridge"),
            Field(name="internal", type=Boolean(), doc="No way out of it.", example=True, default="false"),
            Field(
                name="subnet", type=_SUBNET, doc="Its addresses.", example="172.28.0.0/16", default="the engine chooses"
            ),
            Field(name="gateway", type=ADDRESS, doc="Address of the gateway.", example="172.28.0.1"),
            Field(name="ip_range", type=_SUBNET, doc="Addresses given to containers.", example="172.28.5.0/24"),
            Field(name="ipv6", type=Boolean(), doc="Give IPv6 addresses too.", example=False, default="false"),
            Field(
                name="options", type=TEXTS, doc="The driver's options.", example={"com.docker.network.driver.mtu": 1400}
            ),
            labels_field("network"),
            EXTERNAL,
            name_field("edge"),
        ),
        _check,
        {
            "driver_opts": "did you mean `options`?",
            "enable_ipv6": "did you mean `ipv6`?",
            "ipam": "write subnet, gateway and ip_range directly",
        },
    ),
    make=_make,
    spec_required=False,
)
