"""Ways to an engine other than its unix socket: TCP with TLS client certificates, and SSH, for real, on loopback.

The rule that keeps it simple: keys and certificates are made per test in its folder; nothing of the user's ~/.ssh or
~/.docker is read or written.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.engines import Engine, wait_until
from tests.registry_server import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_SECONDS = 20.0
_SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
SetEnv DOCKER_HOST={docker_host}
"""
_SSH = """\
IdentityFile {folder}/client
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
StrictHostKeyChecking yes
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """An engine's address, and what a client needs in its environment: merge it over a clean one."""

    url: str
    environment: dict[str, str]


@contextlib.contextmanager
def tls_engine(folder: Path) -> Iterator[Remote]:
    """Start a dockerd that takes only clients with a certificate of its own authority."""
    certificates = make_certificates(folder)
    port = free_port()
    options = ["--tlsverify", f"--tlscacert={certificates}/ca.pem", f"--tlscert={certificates}/server-cert.pem"]
    options += [f"--tlskey={certificates}/server-key.pem", f"--host=tcp://127.0.0.1:{port}"]
    with Engine(options=tuple(options)) as engine:
        engine.bring_out(port)
        environment = {"DOCKER_CERT_PATH": str(certificates), "DOCKER_TLS_VERIFY": "1"}
        yield Remote(url=f"tcp://127.0.0.1:{port}", environment=environment)


@contextlib.contextmanager
def ssh_host(folder: Path, engine: Engine) -> Iterator[Remote]:
    """Serve SSH for root, with the stock docker client of `engine` behind it; `ssh` on the given PATH knows the keys."""
    port = free_port()
    for name in ("host", "client"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
    (folder / "sshd_config").write_text(_SSHD.format(port=port, folder=folder, docker_host=engine.url))
    (folder / "ssh_config").write_text(_SSH.format(folder=folder))
    programs = folder / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {folder}/ssh_config "$@"\n')
    (programs / "ssh").chmod(0o755)
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    try:
        wait_until(lambda: _listens(port), "sshd to listen", _START_SECONDS, folder / "sshd.log")
        yield Remote(url=f"ssh://root@127.0.0.1:{port}", environment={"PATH": f"{programs}:/usr/bin:/bin"})
    finally:
        server.terminate()
        server.wait(_START_SECONDS)


def make_certificates(folder: Path) -> Path:
    """Make an authority, a server's certificate for loopback and a client's, named as DOCKER_CERT_PATH wants; its folder."""
    made = folder / "certificates"
    made.mkdir(parents=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/CN=authority of the tests"]
    _run(
        "openssl",
        "req",
        "-x509",
        *key,
        *subject,
        "-days",
        "2",
        "-keyout",
        f"{made}/ca-key.pem",
        "-out",
        f"{made}/ca.pem",
    )
    for prefix, use in {"server-": "serverAuth", "": "clientAuth"}.items():
        extensions = made / f"{prefix}extensions"
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={use}\n")
        request, name = f"{made}/{prefix}request.pem", ["-subj", f"/CN={prefix}tests"]
        _run("openssl", "req", *key, *name, "-keyout", f"{made}/{prefix}key.pem", "-out", request)
        signed = ["-CA", f"{made}/ca.pem", "-CAkey", f"{made}/ca-key.pem", "-CAcreateserial", "-days", "2"]
        _run(
            "openssl",
            "x509",
            "-req",
            "-in",
            request,
            *signed,
            "-extfile",
            str(extensions),
            "-out",
            f"{made}/{prefix}cert.pem",
        )
    return made


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
