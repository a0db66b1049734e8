"""A real registry for tests: `docker-registry serve` on a free loopback port, with or without passwords.

The rule: one process per `with`, on its own folder; it is gone when the block ends, whatever happened inside.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# The registry answers in well under a second; a loaded machine gets time.
_START_TIMEOUT = 30.0
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {root}}}
  delete: {{enabled: {deletion}}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: {address}
  secret: made-up-for-tests
{tls}{auth}"""
_TLS = "  tls: {{certificate: {certificate}, key: {key}}}\n"
_AUTH = "auth: {{htpasswd: {{realm: tests, path: {path}}}}}\n"


@contextlib.contextmanager
def serve_registry(
    tmp_path: Path,
    *,
    htpasswd: Mapping[str, str] | None = None,
    tls: tuple[Path, Path] | None = None,
    port: int | None = None,
    deletion: bool = True,
) -> Iterator[str]:
    """Serve an empty registry (or what `tmp_path/registry` holds from before) and yield its address `127.0.0.1:PORT`.

    `htpasswd` maps users to passwords (basic auth); `tls` is (certificate, key).
    """
    folder = tmp_path / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{port or free_port()}"
    config = folder / "config.yml"
    config.write_text(
        _CONFIG.format(
            root=folder / "data",
            address=address,
            deletion=str(deletion).lower(),
            tls=_TLS.format(certificate=tls[0], key=tls[1]) if tls else "",
            auth=_AUTH.format(path=_write_htpasswd(folder, htpasswd)) if htpasswd is not None else "",
        )
    )
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
        )
        try:
            _wait_until_it_answers(process, address, folder / "log", tls=tls is not None)
            yield address
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    """Pass no REGISTRY_* variable of the caller on, and write no traces to anywhere."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    return environment | {"OTEL_TRACES_EXPORTER": "none"}


def _write_htpasswd(folder: Path, users: Mapping[str, str]) -> Path:
    path = folder / "htpasswd"
    lines = [
        subprocess.run(["htpasswd", "-Bbn", user, password], check=True, capture_output=True, text=True).stdout.strip()
        for user, password in users.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, log: Path, *, tls: bool) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the registry ended with {process.returncode}:\n{log.read_text()}")
        with contextlib.suppress(OSError):
            if _answers(address, tls=tls):
                return
        time.sleep(0.02)
    raise RuntimeError(f"the registry does not answer:\n{log.read_text()}")


def _answers(address: str, *, tls: bool) -> bool:
    if tls:  # that the port is open says enough; certificates are the test's own matter
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in {200, 401}
    finally:
        connection.close()
