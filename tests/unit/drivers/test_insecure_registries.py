"""Which registries may do without TLS, as the engine says it; and that the client for one is made by that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker import DockerDriver, Surroundings
from declarative.drivers.docker.remote import is_insecure
from declarative.registry.client import RegistryClient
from tests.sockets import serving
from tests.unit.drivers.world import World

if TYPE_CHECKING:
    from pathlib import Path

INFO = {
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", "10.1.0.0/16"],
        "IndexConfigs": {
            "docker.io": {"Name": "docker.io", "Secure": True},
            "lab.test:5000": {"Name": "lab.test:5000", "Secure": False},
            "10.1.2.3": {"Name": "10.1.2.3", "Secure": True},
        },
    }
}


@pytest.mark.parametrize(
    ("info", "domain", "insecure"),
    [
        (INFO, "lab.test:5000", True),
        (INFO, "lab.test", False),
        (INFO, "docker.io", False),
        (INFO, "10.1.2.4:5000", True),
        (INFO, "10.1.2.3", False),
        (INFO, "10.2.0.1", False),
        (INFO, "[::1]:5000", True),
        (INFO, "ghcr.io", False),
        ({}, "lab.test:5000", False),
        ({"RegistryConfig": {"InsecureRegistryCIDRs": None, "IndexConfigs": None}}, "127.0.0.1:5000", False),
    ],
)
def test_what_the_engine_says(info: dict[str, Any], domain: str, insecure: bool) -> None:
    assert is_insecure(info, domain) is insecure


def test_the_client_of_a_registry_is_made_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {}

    def registry(domain: str, insecure: bool) -> RegistryClient:
        made[domain] = insecure
        return RegistryClient(domain)

    with World(str(tmp_path / "engine.sock")) as world, serving(world):
        monkeypatch.setattr(world, "answer", lambda _: INFO)
        around = Surroundings(salt=lambda: "00", registry=registry)
        driver = DockerDriver(UnixEndpoint(path=str(tmp_path / "engine.sock")), around)
        for domain in ("lab.test:5000", "ghcr.io", "ghcr.io"):
            driver._registry(domain)
        driver.close()

    assert made == {"lab.test:5000": True, "ghcr.io": False}
