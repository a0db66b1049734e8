"""The same `docker create` on dockerd 26.1 and on the embedded engine: inspect tells the same of both, field by field."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines import DEBIAN_13

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded import EmbeddedEngine
    from tests.engines import Engine

CASES = {
    "plain": "",
    "names": "-h myhost -e A=b -w /tmp -u nobody -l x=y --expose 99",
    "ports": "-p 8080:80 -p 127.0.0.1:9090-9091:90-91/udp -p 443",
    "volumes": "-v named:/data -v /etc:/b:ro -v /anon --mount type=tmpfs,target=/t,tmpfs-size=1m --tmpfs /t2:rw,size=64k",
    "limits": "--memory 64m --cpus 1.5 --pids-limit 50 --ulimit nofile=100:200 --cpu-shares 512 --cpuset-cpus 0 --shm-size 32m",
    "security": "--cap-add NET_ADMIN --cap-drop all --security-opt no-new-privileges --read-only --init --group-add 5",
    "privileged": "--privileged",
    "host": "--network host --pid host --ipc host --uts host",
    "none": "--network none",
    "dns": "--dns 1.1.1.1 --dns-search ex.com --dns-option ndots:2 --add-host foo:1.2.3.4",
    "restart": "--restart on-failure:3",
    "health": "--health-cmd true --health-interval 1s --health-timeout 2s --health-retries 2 --health-start-period 3s",
    "terminal": "-t -i --stop-signal SIGINT --stop-timeout 3",
    "logs": "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2",
    "entrypoint": "--entrypoint sleep --rm",
}
# what differs by nature, and what newer dockerds mask beside
_OWN = re.compile(r"\.(Id|Created|Name|Hostname|Source|.*Path|SandboxKey)$|GraphDriver|MaskedPaths")


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{path}.{key}")
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, item in enumerate(sorted(value, key=lambda item: str(item.get("Destination", "")))):
            yield from flat(item, f"{path}[{number}]")
    elif path.endswith(".Binds") and value:
        yield path, sorted(value)  # the client sends them in the order of a Go map: any
    else:
        yield path, value


def created(engine: Engine, options: str) -> dict[str, Any]:
    """Make a container with the client of 26.1, for another one's null is its []; give what inspect tells of it."""
    environment = {"PATH": DEBIAN_13.path, "HOME": str(engine.folder), "DOCKER_HOST": engine.url}
    argv = [DEBIAN_13.docker, "create", *options.split(), "busybox", "sleep", "1000"]
    made = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.strip()
    document = engine.api("GET", f"/v1.45/containers/{made}/json")[1]
    engine.clear()
    return {path: value for path, value in flat(document) if not _OWN.search(path)}


@pytest.mark.engine
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_inspect_is_dockers(embedded_engine: EmbeddedEngine, docker26: Engine, options: str) -> None:
    ours, theirs = created(embedded_engine, options), created(docker26, options)
    different = {path: (theirs.get(path), ours.get(path)) for path in theirs.keys() | ours.keys()}
    wrong = {
        path: pair for path, pair in different.items() if pair[0] != pair[1] or path not in theirs or path not in ours
    }
    assert not wrong, wrong
