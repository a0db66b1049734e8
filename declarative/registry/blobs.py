"""Blobs of a registry: one blob's address, and what can be asked about it without moving its bytes.

The rule: nothing counts as being there before the registry named its digest. Moving bytes is `download` and `upload`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode

from declarative.errors import Denied, Failed, NotFound, Unavailable, Unsupported
from declarative.record import record
from declarative.registry.auth import scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.oci.digest import Digest
    from declarative.registry.failure import Question
    from declarative.registry.retry import RetryPolicy
    from declarative.registry.session import Session

# Told how many more bytes are over; a negative number takes back what a failed try had sent.
Progress: TypeAlias = "Callable[[int], None]"


@record
class Blob:
    """One blob of one repository, and the way to it."""

    session: Session
    policy: RetryPolicy
    repository: str
    digest: Digest

    @property
    def subject(self) -> str:
        """Registry and repository, for errors."""
        return f"{self.session.domain}/{self.repository}"

    @property
    def target(self) -> str:
        """The blob's address below /v2/."""
        return f"{self.repository}/blobs/{self.digest}"

    @property
    def uploads(self) -> str:
        """Where uploads begin, below /v2/."""
        return f"{self.repository}/blobs/uploads/"

    @property
    def reading(self) -> frozenset[str]:
        """The scopes that reading takes."""
        return frozenset({scope(self.repository, "pull")})

    @property
    def writing(self) -> frozenset[str]:
        """The scopes that writing takes."""
        return frozenset({scope(self.repository, "pull", "push")})

    def question(self, method: str, what: str = "") -> Question:
        """Say what is going to be asked about this blob."""
        return self.session.question(self.repository, method, what or f"blob {self.digest}")


def exists(blob: Blob) -> bool:
    """Tell whether the repository has the blob. A bare 404 is enough: the worst that follows is an upload."""
    question = blob.question("HEAD")
    answer = blob.session.ask(question, blob.target, scopes=blob.reading, expected={200, 404})
    blob.session.release(answer)
    return answer.status == 200


def mount(blob: Blob, source: str) -> bool:
    """Let the registry take the blob over from another of its repositories; False where it does not.

    A refusal is no error: who may not read the source may still write the target, and the upload will tell.
    """
    question = blob.question("POST", f"a mount of blob {blob.digest} from {source}")
    target = blob.uploads + "?" + urlencode({"mount": str(blob.digest), "from": source})
    try:
        answer = blob.session.ask(
            question,
            target,
            scopes=blob.writing | {scope(source, "pull")},
            headers={"Content-Length": "0"},
            expected={201, 202},
        )
    except (Denied, NotFound, Failed, Unsupported):
        return False
    if answer.status == 201:
        blob.session.release(answer)
        return True
    _cancel(blob, blob.session.location(question, answer, target))
    return False


def _cancel(blob: Blob, location: str) -> None:
    """End an upload that nobody will finish; the registry forgets it by itself sooner or later."""
    question = blob.question("DELETE", "an upload")
    try:
        blob.session.release(blob.session.ask(question, location, scopes=blob.writing, expected=range(200, 500)))
    except Unavailable:
        return
