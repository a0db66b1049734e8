"""Scenes of host ports and fixed addresses that go from one container to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.plan import Policy
from tests.unit.planner.scenes import Scene, doc, job, run

if TYPE_CHECKING:
    from declarative.drivers.memory import MemoryEngine

_NET = doc("Network", "back", "subnet: 10.77.0.0/24")
_ON_B = Policy(targets=frozenset({"Container/b"}))


def _on(port: str, more: str = "") -> str:
    return f"ports: ['{port}:80']\n{more}"


def _at(number: int, more: str = "") -> str:
    return f"networks: {{back: {{ipv4_address: 10.77.0.{number}}}}}\n{more}"


def _stop_a(engine: MemoryEngine) -> None:
    engine.stop("law-a-1")


def _named(name: str, more: str = "") -> str:
    return f"container_name: {name}\n{more}"


def _killed_after_create(engine: MemoryEngine) -> None:
    """As an apply that was killed when it had stopped the old one and renamed it."""
    engine.stop("xx")
    engine.rename("xx", "xx.old")


SCENES = (
    Scene(name="port-handed-over", applied=(run("web", _on("8080")),), now=run("aproxy", _on("8080")) + run("web")),
    Scene(name="port-of-who-left", applied=(run("web", _on("8080")) + run("b"),), now=run("a", _on("8080")) + run("b")),
    Scene(
        name="port-on-one-address",
        applied=(run("web", _on("8080")) + run("db", _on("127.0.0.1:8081")) + run("c", _on("8082")),),
        now=run("a", _on("127.0.0.1:8080")) + run("b", _on("127.0.0.2:8081")) + run("d", "ports: ['8082:80/udp']"),
    ),
    Scene(
        name="port-range", applied=(run("web", _on("8080")),), now=run("a", "ports: ['8079-8081:79-81']") + run("web")
    ),
    Scene(name="port-of-a-job", applied=(run("web", _on("8080")),), now=job("seed", _on("8080")) + run("web")),
    Scene(
        name="port-of-who-is-stopped",
        applied=(run("a", _on("8080")) + run("b"),),
        since=_stop_a,
        now=run("a") + run("b", _on("8080")),
    ),
    Scene(
        name="port-handed-to-a-dependency",
        applied=(run("web", _on("8080")),),
        now=run("proxy", _on("8080")) + run("web", "depends_on: [proxy]"),
    ),
    Scene(
        name="ports-swapped",
        applied=(run("a", _on("8080")) + run("b", _on("8081")),),
        now=run("a", _on("8081")) + run("b", _on("8080")),
    ),
    Scene(
        name="ports-swapped-with-a-dependency",
        applied=(run("a", _on("8080")) + run("b", _on("8081")),),
        now=run("a", _on("8081", "depends_on: [b]")) + run("b", _on("8080")),
    ),
    Scene(
        name="ports-in-turn",
        applied=(run("a", _on("8080")) + run("b", _on("8081")) + run("c", _on("8082")) + run("d", _on("8083")),),
        now=run("a", _on("8081")) + run("b", _on("8082")) + run("c", _on("8080")) + run("d") + run("e", _on("8083")),
    ),
    Scene(
        name="address-handed-over", applied=(_NET + run("a", _at(5)),), now=_NET + run("a", _at(6)) + run("b", _at(5))
    ),
    Scene(
        name="addresses-swapped",
        applied=(_NET + run("a", _at(5)) + run("b", _at(6)),),
        now=_NET + run("a", _at(6)) + run("b", _at(5)),
    ),
    Scene(
        name="addresses-swapped-by-replacing",
        applied=(_NET + run("a", _at(5)) + run("b", _at(6)),),
        now=_NET + run("a", _at(6, "labels: {a: b}")) + run("b", _at(5, "labels: {a: b}")),
    ),
    Scene(
        name="target-takes-a-port-from-who-left",
        applied=(run("a", _on("8080")) + run("b"),),
        now=run("b", _on("8080")),
        policy=_ON_B,
    ),
    Scene(
        name="target-takes-a-port-along",
        applied=(run("a", _on("8080")) + run("b"),),
        now=run("a") + run("b", _on("8080", "depends_on: [a]")),
        policy=_ON_B,
    ),
    Scene(
        name="name-of-who-left",
        applied=(run("a", _named("xx", _on("8080"))),),
        now=run("b", _named("xx", _on("8080"))),
    ),
    Scene(
        name="name-of-who-left-and-was-put-aside",
        applied=(run("a", _named("xx")),),
        since=_killed_after_create,
        now=run("b", _named("xx")),
    ),
    Scene(
        name="name-in-turn",
        applied=(run("a", _named("xx")) + run("b", _named("yy")),),
        now=run("a", _named("yy")) + run("b", _named("zz")) + run("c", _named("xx")),
    ),
    Scene(
        name="name-of-who-left-for-one-that-is-there",
        applied=(run("a", _named("xx")) + run("b", _named("yy")),),
        now=run("b", _named("xx")),
    ),
    Scene(
        name="name-of-who-left-for-one-that-is-replaced",
        applied=(run("a", _named("xx")) + run("b", _named("yy")),),
        now=run("b", _named("xx", "environment: {A: b}")),
    ),
    Scene(
        name="names-swapped-by-replacing",
        applied=(run("a", _named("xx")) + run("b", _named("yy")),),
        now=run("a", _named("yy", "environment: {A: b}")) + run("b", _named("xx", "environment: {A: b}")),
    ),
    Scene(
        name="names-and-ports-swapped",
        applied=(run("a", _named("xx", _on("8080"))) + run("b", _named("yy", _on("8081"))),),
        now=run("a", _named("yy", _on("8081"))) + run("b", _named("xx", _on("8080"))),
    ),
    Scene(
        name="names-swapped-with-ports-kept",
        applied=(run("a", _named("xx", _on("8080"))) + run("b", _named("yy", _on("8081"))),),
        now=run("a", _named("yy", _on("8080"))) + run("b", _named("xx", _on("8081"))),
    ),
    Scene(
        name="names-swapped",
        applied=(run("a", _named("xx")) + run("b", _named("yy")),),
        now=run("a", _named("yy")) + run("b", _named("xx")),
    ),
    Scene(name="container-becomes-job", applied=(run("a", _on("8080")),), now=job("a", _on("8080"))),
    Scene(name="job-becomes-container", applied=(job("a"),), now=run("a")),
    Scene(
        name="name-of-a-job-that-is-renamed",
        applied=(job("a", "container_name: xx"),),
        now=job("a", "container_name: yy") + run("b", _named("xx")),
    ),
    Scene(
        name="name-of-who-left-beside-targets",
        applied=(run("a", _named("xx")) + run("b"),),
        now=run("b", _named("xx")),
        policy=_ON_B,
    ),
    Scene(
        name="name-of-who-left-with-its-network",
        applied=(_NET + run("a", _named("xx", "networks: [back]")),),
        now=run("b", _named("xx")),
    ),
    Scene(
        name="renamed-on-a-network-that-changes",
        applied=(_NET + run("a", _named("xx", "networks: [back]")),),
        now=_NET.replace("77", "78") + run("a", _named("yy", "networks: [back]")),
    ),
)
