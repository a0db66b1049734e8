"""A registry's answer that is not the one hoped for, as one of our errors.

The rule: only a registry's own 404 means "absent". Whatever else goes wrong says which registry, which repository, what
was asked, the status and the server's codes; it shows no secret and at most a few hundred characters.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from declarative.errors import Conflict, DeclarativeError, Denied, Failed, NotFound, Unavailable, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Error documents are a few hundred bytes; what is longer is some proxy's page.
BODY_MAX = 16 * 1024
_MESSAGE_MAX = 200
# distribution-spec, "Error Codes": what says that the thing itself is not there.
_ABSENT_CODES = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN", "NOT_FOUND"})
_DENIED_CODES = frozenset({"DENIED", "UNAUTHORIZED"})
_SECRETS = re.compile(
    r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+"
    r"|\b((?:access_|refresh_|identity)?token|password|secret|signature|x-amz-[\w-]+|sig)(\W{1,4})[\w.~+/=%-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|(?<=://)[^/\s@]+@"
)

# What urllib3 and the system put around the reason.
_NOISE = re.compile(
    r"<[^<>]* object at 0x[0-9a-f]+>:? ?|\w*Connection\w*\([^()]*\): ?"
    r"|\[Errno -?\d+\] |Failed to establish a new connection: "
)


class Untrusted(Unavailable):
    """The server's certificate does not hold. Trying again changes nothing."""


@record
class Question:
    """What was asked, in the words of an error: `subject` is registry and repository, `what` the thing asked for."""

    subject: str
    method: str
    what: str

    def __str__(self) -> str:
        return f"{self.method} {self.what}"


@record
class Answer:
    """The head and the beginning of the body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    retry_after: float | None = None


def error_of(question: Question, answer: Answer) -> DeclarativeError:
    """Turn an unwanted answer into the error of its kind."""
    codes, message = _read_errors(answer)
    said = f"the registry answered {answer.status} to {question}" + (f" ({message})" if message else "")
    status = answer.status
    if status in {401, 403} or (status == 404 and codes & _DENIED_CODES):
        return Denied(question.subject, said, f"run `docker login {question.subject.partition('/')[0]}`")
    if status == 404:
        return _of_404(question, answer, codes, said)
    if status in {405, 501}:
        return Unsupported(question.subject, said, "the registry does not allow this; its configuration may")
    if status in {408, 425, 429} or status >= 500 or status < 400:
        remedy = "the registry asks us to slow down; run again later" if status == 429 else "run again later"
        return Unavailable(question.subject, said, remedy, retry_after=answer.retry_after)
    if status in {409, 412}:
        return Conflict(question.subject, said)
    return Failed(question.subject, said)


def no_answer(question: Question, error: Exception, certs: Path | None = None) -> Unavailable:
    """Turn a connection that was refused, cut, or too slow into an error. `certs`: where certificates of the host may be."""
    reason = redact(_reason(error))
    said = f"no proper answer to {question}: {reason}"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        where = f"put the registry's CA into {certs}/ca.crt, or" if certs is not None else "put the registry's CA"
        return Untrusted(question.subject, said, f"{where} among those that this machine trusts")
    return Unavailable(question.subject, said, "check the name, the network and the registry, then run again")


def redact(text: str) -> str:
    """Return `text` on one line, bounded, without what looks like a token, a password or a signature."""
    clean = _SECRETS.sub(_hide, " ".join(text.split()))
    clean = "".join(character if character.isprintable() else "?" for character in clean)
    return clean if len(clean) <= _MESSAGE_MAX else clean[:_MESSAGE_MAX] + "…"


def _hide(match: re.Match[str]) -> str:
    if match[1]:
        return f"{match[1]} ***"
    return f"{match[2]}{match[3]}***" if match[2] else "***@" if match[0].endswith("@") else "***"


def _of_404(question: Question, answer: Answer, codes: frozenset[str], said: str) -> DeclarativeError:
    """Tell a registry that does not have the thing from something that is no registry, or hides behind a proxy."""
    speaks = any(name.lower() == "docker-distribution-api-version" for name in answer.headers)
    if codes & _ABSENT_CODES or (speaks and not codes):
        return NotFound(question.subject, said)
    return Unavailable(question.subject, f"{said}, but not as a registry says that something is absent")


def _read_errors(answer: Answer) -> tuple[frozenset[str], str]:
    """Read the codes and a line for people (distribution-spec, "Error Codes"); a body that is none gives its start."""
    try:
        document = json.loads(answer.body)
        errors = [entry for entry in document["errors"] if isinstance(entry, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return frozenset(), redact(answer.body.decode(errors="replace"))
    codes = frozenset(str(entry.get("code", "")) for entry in errors)
    lines = [f"{entry.get('code', '')}: {entry.get('message') or ''}".rstrip(": ") for entry in errors]
    return codes, redact("; ".join(lines))


def _reason(error: Exception) -> str:
    """Say what happened: the innermost error, without the object addresses that urllib3 puts around it."""
    inner = next((part for part in error.args if isinstance(part, Exception)), None)
    if inner is not None and inner is not error:
        return _reason(inner)
    text = str(error) or type(error).__name__
    return _NOISE.sub("", text)
