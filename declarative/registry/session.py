"""HTTP with one registry: addresses, TLS, authorization, redirects, and answers made into errors.

The rule: one call is one question and one proper answer, or an error; nothing is retried here. TLS everywhere, except
with loopback hosts and those configured as insecure.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urljoin, urlsplit

from declarative.errors import DeclarativeError, Invalid, NotFound, Unavailable
from declarative.oci.reference import DEFAULT_DOMAIN
from declarative.record import field, record
from declarative.registry.auth import Authorizer
from declarative.registry.failure import BODY_MAX, Answer, Question, error_of, no_answer
from declarative.registry.proxies import Proxies, is_loopback

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from urllib3 import BaseHTTPResponse, PoolManager

    from declarative.registry.auth import TokenRequest
    from declarative.registry.credentials import Credential

# The name people write and the host that answers.
_DOCKER_HUB_HOST = "registry-1.docker.io"
_USER_AGENT = "declarative"
DOCKER_CERTS = "/etc/docker/certs.d"
"""Where Docker has the certificates of registries; see `Settings.certs`."""
# Docker follows ten, browsers twenty; real registries need one or two.
_REDIRECTS_MAX = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# A token is a few kilobytes; a server that sends more is not heard out.
_TOKEN_MAX = 1024 * 1024
# A connection that failed a probe is not worth waiting for as long as real content.
_PROBE_TIMEOUT = 5.0
_REGISTRYS_OWN = frozenset({200, 401})  # what a registry says of its API's version

# A body is bytes, or a way to open the content anew: a request may have to be sent twice.
Body: TypeAlias = "bytes | Callable[[], Iterable[bytes]] | None"


@record
class Settings:
    """How registries are reached; times in seconds.

    `insecure` holds hosts (with port where there is one) that may speak plain HTTP or show any certificate. `certs` is a
    folder as /etc/docker/certs.d: HOST/*.crt are CAs, HOST/NAME.cert and NAME.key a client certificate.
    """

    insecure: frozenset[str] = frozenset()
    certs: Path | None = None
    proxies: Proxies = field(default_factory=Proxies)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    connections: int = 8
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    wall_clock: Callable[[], float] = field(default=time.time, repr=False)


class Session:
    """The connections to one registry and the hosts it sends us to. Safe to share between threads."""

    def __init__(self, domain: str, credential: Callable[[], Credential | None], settings: Settings) -> None:
        self.domain = domain
        self._host = _DOCKER_HUB_HOST if domain == DEFAULT_DOMAIN else domain
        self._settings = settings
        self._lock = threading.Lock()
        self._pools: dict[str, PoolManager] = {}
        self._scheme = "" if self._may_be_plain(self._host) else "https"
        self._authorizer = Authorizer(
            domain,
            credential=credential,
            fetch=self._fetch_token,
            clock=settings.clock,
            plain_realm=self._may_be_plain(self._host),
        )

    def question(self, repository: str, method: str, what: str) -> Question:
        """Say what is going to be asked."""
        return Question(subject=f"{self.domain}/{repository}".rstrip("/"), method=method, what=what)

    def ask(
        self,
        question: Question,
        target: str,
        *,
        scopes: frozenset[str],
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        expected: Collection[int] = frozenset({200}),
    ) -> BaseHTTPResponse:
        """Send one question to `target` (a path below /v2/, or an address the registry gave) and return its answer.

        The body of the answer is not read yet: use `content`, or `release` it. Raise the error of any status that is
        not `expected`.
        """
        url = urljoin(f"{self._base()}/v2/", target)
        sent = dict(headers or {})
        answer = self._send_authorized(question, url, scopes=scopes, headers=sent, body=body)
        for _ in range(_REDIRECTS_MAX):
            if answer.status not in _REDIRECTS or question.method not in {"GET", "HEAD"}:
                break
            self.release(answer)
            url = self._next(question, url, answer)
            answer = self._send_authorized(question, url, scopes=scopes, headers=sent, body=None)
        if answer.status not in expected:
            raise self._failed(question, answer)
        return answer

    def content(self, question: Question, answer: BaseHTTPResponse, limit: int) -> bytes:
        """Read the body of an answer, at most `limit` bytes; raise Unavailable if it is cut, Invalid if longer."""
        from urllib3.exceptions import HTTPError

        content = bytearray()
        try:
            # Only the read that finds nothing more tells a body that ended from one that was cut.
            while len(content) <= limit and (piece := answer.read(limit + 1 - len(content))):
                content += piece
        except (HTTPError, OSError) as error:
            answer.close()
            raise no_answer(question, error) from error
        if len(content) > limit:
            answer.close()
            raise Invalid(question.subject, f"the answer to {question} is longer than {limit} bytes")
        answer.release_conn()
        return bytes(content)

    def release(self, answer: BaseHTTPResponse) -> None:
        """Let go of an answer whose body is of no interest, and keep its connection where that is cheap."""
        from urllib3.exceptions import HTTPError

        try:
            answer.read(BODY_MAX)
        except (HTTPError, OSError):
            answer.close()
        answer.release_conn()

    def location(self, question: Question, answer: BaseHTTPResponse, target: str) -> str:
        """Return where the registry sends us after the question to `target`; raise Unavailable if it does not say."""
        self.release(answer)
        return self._next(question, urljoin(f"{self._base()}/v2/", target), answer)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _send_authorized(
        self, question: Question, url: str, *, scopes: frozenset[str], headers: Mapping[str, str], body: Body
    ) -> BaseHTTPResponse:
        """Send with authorization, but to the registry itself only: who it redirects to needs none, and gets none."""
        if url.partition("://")[2].partition("/")[0] != urlsplit(self._base()).netloc:
            return self._send(question, url, headers=headers, body=body)
        used = self._authorizer.header(scopes)
        answer = self._send(question, url, headers=_with(headers, used), body=body)
        if answer.status != 401:
            return answer
        try:
            renewed = self._authorizer.challenged(answer.headers.get("WWW-Authenticate", ""), scopes, used)
        except DeclarativeError:
            answer.close()
            raise
        if renewed is None:
            return answer
        self.release(answer)
        return self._send(question, url, headers=_with(headers, renewed), body=body)

    def _send(
        self, question: Question, url: str, *, headers: Mapping[str, str], body: Body, timeout: float | None = None
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        settings = self._settings
        limits = Timeout(connect=timeout or settings.connect_timeout, read=timeout or settings.read_timeout)
        try:
            return self._pool(url).request(
                question.method,
                url,
                headers={"User-Agent": _USER_AGENT, **headers},
                body=_guarded(body()) if callable(body) else body,
                timeout=limits,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except _ContentFailed as failed:
            raise failed.error from failed.error.__cause__
        except (HTTPError, OSError, ValueError) as error:  # ValueError: an address that is none
            raise no_answer(question, error, self._certs(url)) from error

    def _fetch_token(self, request: TokenRequest) -> bytes:
        realm = urlsplit(request.url).hostname or ""
        question = Question(subject=self.domain, method=request.method, what=f"a token of {realm}")
        answer = self._send(question, request.url, headers=request.headers, body=request.body)
        if answer.status != 200:
            error = self._failed(question, answer)
            # What is absent here is the token server, not what was asked for.
            raise Unavailable(error.subject, error.problem) if isinstance(error, NotFound) else error
        return self.content(question, answer, _TOKEN_MAX)

    def _failed(self, question: Question, answer: BaseHTTPResponse) -> DeclarativeError:
        from urllib3.exceptions import HTTPError

        try:
            body = bytes(answer.read(BODY_MAX))
        except (HTTPError, OSError):
            body = b""  # the status alone tells the kind of error
        answer.close()
        retry_after = _parse_retry_after(answer.headers.get("Retry-After", ""), self._settings.wall_clock())
        return error_of(
            question, Answer(status=answer.status, headers=answer.headers, body=body, retry_after=retry_after)
        )

    def _next(self, question: Question, url: str, answer: BaseHTTPResponse) -> str:
        """Return the address of a Location header; raise Unavailable if it is none, or leaves TLS."""
        location = urljoin(url, answer.headers.get("Location", ""))
        if not answer.headers.get("Location"):
            raise Unavailable(question.subject, f"the answer {answer.status} to {question} says no location")
        parts = urlsplit(location)
        plain = parts.scheme == "http" and self._may_be_plain(self._host) and self._may_be_plain(parts.netloc)
        if parts.scheme != "https" and not plain:
            raise Unavailable(question.subject, f"{question} was sent on to {parts.netloc}, which is not behind TLS")
        return location

    def _base(self) -> str:
        """Return the registry's address; find out the scheme the first time, where there is a choice."""
        if not self._scheme:  # two threads may both find it out; they find the same
            self._scheme = self._probe()
        return f"{self._scheme}://{self._host}"

    def _probe(self) -> str:
        """Ask over plain HTTP, without credentials: a port that speaks TLS says 400, or cuts the connection.

        A proxy answers in place of a registry that it cannot reach; then TLS is tried too.
        """
        question = self.question("", "GET", "the version of its API")
        try:
            answer = self._send(question, f"http://{self._host}/v2/", headers={}, body=None, timeout=_PROBE_TIMEOUT)
        except Unavailable as plain:
            try:
                self.release(self._send(question, f"https://{self._host}/v2/", headers={}, body=None))
            except Unavailable as secure:
                # Who answered TLS with a bad certificate speaks TLS; otherwise plain HTTP was the better guess.
                raise (secure if "CERTIFICATE" in str(secure) else plain) from secure
            return "https"
        self.release(answer)
        guess = "https" if answer.status == 400 else "http"
        if answer.status in _REGISTRYS_OWN or not self._settings.proxies.find(f"http://{self._host}/"):
            return guess
        try:
            self.release(self._send(question, f"https://{self._host}/v2/", headers={}, body=None))
        except Unavailable:
            return guess
        return "https"

    def _may_be_plain(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        return host in self._settings.insecure or name in self._settings.insecure or is_loopback(name)

    def _pool(self, url: str) -> PoolManager:
        scheme, _, rest = url.partition("://")
        origin = f"{scheme}://{rest.partition('/')[0]}"
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._new_pool(origin)
            return self._pools[origin]

    def _new_pool(self, origin: str) -> PoolManager:
        import urllib3

        parts = urlsplit(origin)
        context = self._tls(origin) if parts.scheme == "https" else None
        if context is not None and not context.check_hostname:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the configuration says so
        settings = self._settings
        return settings.proxies.connect(origin, maxsize=settings.connections, ssl_context=context)

    def _certs(self, url: str) -> Path | None:
        """Give the folder for certificates of the host of a URL."""
        host = url.partition("://")[2].partition("/")[0]
        return self._settings.certs / host if self._settings.certs is not None else None

    def _tls(self, origin: str) -> ssl.SSLContext:
        import ssl

        context = ssl.create_default_context()
        folder = self._certs(origin)
        try:
            for authority in sorted(folder.glob("*.crt")) if folder else ():
                context.load_verify_locations(authority)
            for certificate in sorted(folder.glob("*.cert")) if folder else ():
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise Invalid(str(folder), f"a certificate there cannot be read: {error}") from error
        if urlsplit(origin).netloc in self._settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _ContentFailed(Exception):
    """Carries an error of what we send past whoever would take it for one of the connection."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _guarded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except Exception as error:  # whatever it is, it goes on as it is
        raise _ContentFailed(error) from error


def _with(headers: Mapping[str, str], authorization: str | None) -> Mapping[str, str]:
    return headers if authorization is None else {**headers, "Authorization": authorization}


def _parse_retry_after(value: str, now: float) -> float | None:
    """Read seconds or a date (RFC 9110, section 10.2.3); None where it is neither."""
    from email.utils import parsedate_to_datetime

    if value.strip().isdecimal() and len(value) <= 9:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
