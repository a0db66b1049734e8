"""TLS to an engine, with client certificates, and half-closed streams.

The rule: the TLS machine works on buffers in memory, under one lock, so that one thread may read while another writes, and so
that `close_notify` can be sent while reading goes on. Python's own TLS socket can do neither: it waits for the other side's
`close_notify`, and a hijacked stream over TLS would never see the end of its standard input.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from typing import TYPE_CHECKING

from declarative.dockerapi.transport import Link
from declarative.errors import DeclarativeError, Denied, Invalid, Unavailable

if TYPE_CHECKING:
    import socket

    from declarative.dockerapi.transport import TlsFiles

RECORDS = 64 * 1024
"""Bytes read from the socket at once: four full TLS records."""


def wrap(sock: socket.socket, address: str, host: str, files: TlsFiles) -> Link:
    """Shake hands on a connected socket, within its timeout. Raises Denied, Invalid, Unavailable; closes `sock` then."""
    try:
        link = TlsLink(sock, address, context(address, files), host)
        link.handshake()
    except DeclarativeError:
        sock.close()
        raise
    except TimeoutError as error:
        sock.close()
        problem = "the engine does not answer the TLS handshake"
        raise Unavailable(address, problem, "see whether it hangs, or whether the port is right") from error
    except OSError as error:  # ssl.SSLError is one
        sock.close()
        raise tls_fault(address, error) from error
    return link


def context(address: str, files: TlsFiles) -> ssl.SSLContext:
    """Build the context; a file that is missing or no PEM is Invalid and named."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not files.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    try:
        if files.ca:
            made.load_verify_locations(files.ca)
        elif files.verify:
            made.load_default_certs()
        if files.cert:
            made.load_cert_chain(files.cert, files.key or None)
    except OSError as error:
        named = ", ".join(name for name in (files.ca, files.cert, files.key) if name)
        problem = f"cannot read the TLS files {named}: {error.strerror or error}"
        raise Invalid(address, problem, "check DOCKER_CERT_PATH: it needs ca.pem, cert.pem and key.pem") from error
    return made


def tls_fault(address: str, error: OSError) -> DeclarativeError:
    """Say what a failed handshake, or an alert on an open connection, means."""
    text = str(getattr(error, "reason", "") or error).lower().replace("_", " ")
    if isinstance(error, ssl.SSLCertVerificationError):
        problem = f"the engine's certificate is not trusted: {error.verify_message or text}"
        return Denied(address, problem, "check ca.pem in DOCKER_CERT_PATH, and the host name in the certificate")
    if "wrong version number" in text or "record layer failure" in text:
        return Invalid(
            address, "the engine does not speak TLS on this port", "unset DOCKER_TLS_VERIFY, or use its TLS port"
        )
    if "certificate" in text or "unknown ca" in text or "bad certificate" in text:
        problem = f"the engine refused our client certificate: {text}"
        return Denied(address, problem, "check cert.pem and key.pem in DOCKER_CERT_PATH")
    return Unavailable(address, f"the TLS connection failed: {text}", "see whether the engine is still running")


class TlsLink(Link):
    """A TLS connection on a plain socket: to the engine at `host`, or, without one, the engine's own end of it."""

    def __init__(self, sock: socket.socket, address: str, made: ssl.SSLContext, host: str | None) -> None:
        super().__init__(sock, address)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._machine = made.wrap_bio(self._incoming, self._outgoing, server_side=host is None, server_hostname=host)
        self._records = bytearray()
        self._lock = threading.Lock()  # guards the machine; never held while reading from the socket
        self._sending = threading.Lock()  # keeps records in order on the socket

    def handshake(self) -> None:
        """Agree on keys. Raises OSError (ssl.SSLError), TimeoutError."""
        while True:
            try:
                self._machine.do_handshake()
            except ssl.SSLWantReadError:
                self.flush()
                self._feed()
            except ssl.SSLError:
                self.flush()  # the alert that tells the other side why
                raise
            else:
                self.flush()
                return

    def receive(self, size: int) -> bytes:
        """Read decrypted bytes; b"" after the other side's close_notify or end of file."""
        while True:
            with self._lock:
                try:
                    return self._machine.read(size)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            self.flush()  # a key update may ask for an answer
            self._feed()

    @property
    def pending(self) -> bool:
        """Whether bytes that came already may wait in the machine."""
        with self._lock:
            return bool(self._machine.pending() or self._incoming.pending)

    def send_some(self, data: memoryview) -> int:
        """Encrypt some of `data`, once what was encrypted before is out."""
        self.flush()
        with self._lock:
            return self._machine.write(data[:RECORDS])

    def half_close(self) -> None:
        """Send close_notify; the machine goes on reading (RFC 8446 section 6.1)."""
        # The machine wants the other side's close_notify at once, which comes at the end.
        with self._lock, contextlib.suppress(ssl.SSLError):
            self._machine.unwrap()
        self.flush()

    def explain(self, error: Exception) -> DeclarativeError:
        """Give the reason of an alert: with TLS 1.3 a refused client certificate shows after the handshake."""
        if not isinstance(error, ssl.SSLError):
            error = self._alert() or error
        if isinstance(error, ssl.SSLError):
            return tls_fault(self.address, error)
        return super().explain(error)

    def _alert(self) -> ssl.SSLError | None:
        """Look for an alert that came before the connection was reset: sending failed, and so nobody has read it yet."""
        try:
            self.sock.settimeout(0)
            self._feed()
            with self._lock:
                self._machine.read(1)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return None
        except ssl.SSLError as alert:
            return alert
        except OSError:
            return None
        return None

    def flush(self) -> None:
        """Send the records that are ready; what a time-out leaves is kept for the next call."""
        with self._sending:
            with self._lock:
                self._records += self._outgoing.read()
            while self._records:
                sent = self.sock.send(self._records)
                del self._records[:sent]

    def _feed(self) -> None:
        records = self.sock.recv(RECORDS)
        with self._lock:
            if records:
                self._incoming.write(records)
            else:
                self._incoming.write_eof()
