"""What an engine's refusal means: status and message in, a typed error out.

Engines answer 500 for much that is no trouble of theirs (a taken port, a full disk, a wrong password), and put any of it
on a line in the middle of a stream. So the message is looked at first, by one small table, and the status decides where the
table is silent.
The rule: the engine's own words are always kept in the error.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from declarative.errors import Conflict, DeclarativeError, Denied, Failed, Invalid, NotFound, Unavailable, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_WORDS = 2000
"""Characters of an engine's message that are kept: a proxy may answer with a page."""


@record
class _Meaning:
    """Messages like `pattern` are errors of `kind`; `problem` and `remedy` may use the pattern's named groups.

    `statuses` says where the pattern counts. Elsewhere the message may quote it as somebody's name: a container may be called
    `unauthorized`.
    """

    pattern: re.Pattern[str]
    statuses: frozenset[int]
    kind: type[DeclarativeError]
    problem: str
    remedy: str


_TROUBLE = frozenset(range(500, 600))


def _means(
    pattern: str, kind: type[DeclarativeError], problem: str, remedy: str, *, also: frozenset[int] = frozenset()
) -> _Meaning:
    compiled = re.compile(pattern, re.IGNORECASE)
    return _Meaning(pattern=compiled, kind=kind, problem=problem, remedy=remedy, statuses=_TROUBLE | also)


_PORT = r"(?P<port>[0-9]+)"
_400, _403, _404 = frozenset({400}), frozenset({403}), frozenset({404})

# The first that matches wins: the narrow ones stand above the wide ones.
_MEANINGS = (
    _means(r"no space left on device|disk quota exceeded", Failed,
           "the engine's disk is full", "free space there (`docker system df` shows what takes it)"),
    # Both quote the command, which may say anything. Dockerd answers a runtime's failure with 400, 403, 404 or 500.
    _means(r"returned a non-zero code: [0-9]+$", Failed, "", ""),
    _means(r"OCI runtime ", Failed, "", "", also=frozenset(range(400, 500))),
    _means(rf"bind for \S*:{_PORT} failed: port is already allocated", Conflict,
           "port {port} is already taken by another container", "free the port, or publish another one"),
    _means(rf"(?:listen|bind|exposing port)\b.*:{_PORT}\b.*address already in use", Conflict,
           "port {port} is already in use on the engine's host", "stop what listens there, or publish another one"),
    _means(r"address already in use", Conflict,
           "an address is already in use", "choose another address"),
    _means(r"pool overlaps with other one on this address space", Conflict,
           "the subnet overlaps with another network's", "choose another subnet", also=_403),
    _means(r"could not find an available.* address pool|all predefined address pools have been fully subnetted", Conflict,
           "the engine has no address range left for another network", "remove unused networks, or give a subnet"),
    _means(r"^client version \S+ is too (?:old|new)", Unsupported,
           "the engine does not take our version of its API", "use a matching version of this tool or of the engine", also=_400),
    _means(r"^client sent an http request to an https server", Invalid,
           "the engine wants TLS", "set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH", also=_400),
    # Said as 404 too, but it does not mean "absent": the registry will not tell without a login.
    _means(r"^pull access denied", Denied,
           "the registry has no such image, or does not show it to us", "check the name, and log in with `docker login`",
           also=_404),
    _means(r"toomanyrequests|too many requests|rate limit", Unavailable,
           "the registry asks us to slow down", "log in, or try again later"),
    _means(r"unauthorized|authentication required|no basic auth credentials|incorrect username or password"
           r"|requested access to the resource is denied|access forbidden|\bdenied: ", Denied,
           "the registry refuses access", "check the name, and log in with `docker login`"),
    _means(r"^manifest for \S+ not found|manifest unknown|repository name not known|name unknown", NotFound,
           "the registry has no such image", "check repository and tag", also=_404),
    _means(r"received unexpected http status: (?:5\d\d|429)|i/o timeout|tls handshake timeout|connection reset by peer"
           r"|connection refused|unexpected eof|: eof$|temporary failure in name resolution|context deadline exceeded"
           r"|request canceled while waiting|no such host|server misbehaving|network is unreachable"
           r"|the registry answered (?:5\d\d|429) to|no proper answer to", Unavailable,
           "the engine could not reach the registry or another host", "check the network, then run again"),
    _means(r"is the docker daemon running|daemon is shutting down", Unavailable,
           "the engine is going down", "start it, then run again"),
)  # fmt: skip

_STATUS: dict[int, tuple[type[DeclarativeError], str, str]] = {
    400: (Invalid, "the engine refuses this as invalid", ""),
    401: (Denied, "the engine refuses access", "log in with `docker login`"),
    403: (Denied, "the engine forbids this", ""),
    404: (NotFound, "the engine has no such thing", ""),
    405: (Unsupported, "the engine cannot do this", ""),
    406: (Unsupported, "the engine cannot do this", ""),
    409: (Conflict, "something else stands in the way", ""),
    429: (Unavailable, "the engine asks us to slow down", "try again later"),
    500: (Failed, "the engine failed", ""),
    501: (Unsupported, "the engine cannot do this", ""),
    502: (Unavailable, "the engine is not reachable behind its proxy", "run again"),
    503: (Unavailable, "the engine is not ready", "run again"),
    504: (Unavailable, "the engine is not reachable behind its proxy", "run again"),
}


def fault(subject: str, status: int, message: str, *, retry_after: float | None = None) -> DeclarativeError:
    """Give the error that a response with `status` (400 and up) and the engine's `message` stands for."""
    words = _tidy(message)
    kind, problem, remedy = _judge(status, words)
    text = f"{problem}: {words}" if problem and words else words or problem or f"status {status}"
    if issubclass(kind, Unavailable):
        return kind(subject, text, remedy, retry_after=retry_after)
    if issubclass(kind, Failed):
        return kind(subject, text, remedy, output=words)
    return kind(subject, text, remedy)


def _judge(status: int, words: str) -> tuple[type[DeclarativeError], str, str]:
    for meaning in _MEANINGS:
        if status in meaning.statuses and (match := meaning.pattern.search(words)):
            return meaning.kind, meaning.problem.format(**match.groupdict()), meaning.remedy
    fallback = (Invalid, "the engine refuses this", "") if status < 500 else (Failed, "the engine failed", "")
    kind, problem, remedy = _STATUS.get(status, fallback)
    return kind, "" if words else problem, remedy


def line_fault(subject: str, document: Mapping[str, Any]) -> DeclarativeError | None:
    """Give the error that a line of a stream stands for, or None. `errorDetail.code` is a build step's exit code."""
    if "error" not in document and "errorDetail" not in document:
        return None
    detail = document.get("errorDetail")
    message = detail.get("message") if isinstance(detail, dict) else None
    return fault(subject, 500, str(message or document.get("error") or "no reason given"))


def message_of(body: bytes) -> str:
    """Read the message out of an error's body: JSON's `message` (or Podman's `cause`), else the text as it is."""
    text = body.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(document, dict):
        return str(document.get("message") or document.get("cause") or document.get("error") or text)
    return text


def _tidy(message: str) -> str:
    words = " ".join(message.split())
    return words if len(words) <= MAX_WORDS else words[:MAX_WORDS] + "…"
