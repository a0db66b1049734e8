"""What is no change of a file system, in images whose folders are links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from declarative.dockerapi.client import EngineClient
from declarative.dockerapi.transport import UnixEndpoint
from declarative.drivers.docker.reading import changes
from declarative.drivers.port import FileChange
from tests.sockets import serving
from tests.unit.drivers.world import World

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONTAINER = {
    "Config": {"WorkingDir": "/", "Labels": {}},
    "HostConfig": {"Tmpfs": {"/var/lock/app/": ""}},
    "Mounts": [{"Destination": "/var/run/docker.sock"}],
}
ADDED = ["/run/docker.sock", "/run/lock", "/run/lock/app", "/usr/sbin/docker-init", "/run/other"]


def test_what_is_mounted_below_a_link_is_no_change_where_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(path: str) -> Any:
        listed = [{"Path": "/run", "Kind": 0}, *({"Path": name, "Kind": 1} for name in ADDED)]
        return listed if path.endswith("/changes") else CONTAINER

    with World(str(tmp_path / "s")) as world, serving(world):
        monkeypatch.setattr(world, "answer", answer)
        with EngineClient(UnixEndpoint(path=str(world.server_address)), timeout=5) as client:
            assert changes(client, "web") == (FileChange(path="/run/other", kind="added"),)
