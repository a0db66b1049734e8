"""A plan without changes pays for no module that only errors, TLS, SSH or streams need."""

from __future__ import annotations

import subprocess
import sys

_HEAVY = {
    "asyncio", "base64", "datetime", "email", "http.client", "ssl", "subprocess", "tempfile",
    "declarative.dockerapi.duplex", "declarative.dockerapi.faults", "declarative.dockerapi.streams", "declarative.dockerapi.tls",
}  # fmt: skip


def test_the_client_loads_nothing_heavy() -> None:
    code = "import sys; import declarative.dockerapi.client, declarative.drivers.address; print(*sys.modules)"
    # -S: without site, so that nothing but the import itself loads modules; the package is found by the path handed over.
    argv = [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    loaded = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()
    assert not _HEAVY & set(loaded)
