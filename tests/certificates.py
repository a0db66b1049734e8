"""Certificates for tests of TLS, made by the openssl command: an authority, a server on loopback, a client.

The rule that keeps it simple: elliptic curves, for a key takes a millisecond; files named as Docker names them.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path) -> Path:
    """Make `ca.pem` (and its key) in a new folder, which is returned."""
    folder.mkdir(parents=True)
    made = ["req", "-x509", *_KEY, "-subj", f"/CN={folder.name}", "-days", "2"]
    _openssl(*made, "-keyout", f"{folder}/ca-key.pem", "-out", f"{folder}/ca.pem")
    return folder


def issue(authority: Path, folder: Path, *, names: str = "IP:127.0.0.1,DNS:localhost") -> Path:
    """Make ca.pem, cert.pem and key.pem in a new folder: a certificate for server and client, with these alternative names."""
    folder.mkdir(parents=True)
    request, extensions = folder / "request", folder / "extensions"
    _openssl("req", *_KEY, "-subj", "/CN=test", "-keyout", f"{folder}/key.pem", "-out", str(request))
    extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n")
    signed = ["x509", "-req", "-in", str(request), "-extfile", str(extensions), "-days", "2", "-CAcreateserial"]
    _openssl(*signed, "-CA", f"{authority}/ca.pem", "-CAkey", f"{authority}/ca-key.pem", "-out", f"{folder}/cert.pem")
    (folder / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())
    return folder


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
