"""A blob on its way to a registry (distribution-spec, "Pushing blobs").

The rule: memory holds one piece, never a blob; the content can be opened again at any offset, so whatever was cut can be
sent again; the registry checks the digest, and until it did nothing is there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode, urlsplit

from declarative.errors import Failed, NotFound, Unavailable
from declarative.registry.blobs import exists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from declarative.registry.blobs import Blob, Progress

# Opens the content at an offset in bytes; may be called again after a failure.
Content: TypeAlias = "Callable[[int], Iterable[bytes]]"

_RANGE = re.compile(r"(?:bytes=)?0-(\d+)", re.ASCII)
_OCTETS = "application/octet-stream"


def upload(
    blob: Blob, content: Content, *, size: int, chunk: int | None = None, progress: Progress | None = None
) -> None:
    """Send a blob of `size` bytes: in one request, or in requests of `chunk` bytes that resume after a cut."""
    sending = _Upload(blob, _Meter(f"{blob.subject} blob {blob.digest}", content, progress), size)
    if chunk is None:
        blob.policy.call(sending.send_whole)
    else:
        sending.send_chunks(chunk)


class _Meter:
    """Opens the content, and reports how far the sending is; a step back reports a negative number."""

    def __init__(self, subject: str, content: Content, progress: Progress | None) -> None:
        self._subject = subject
        self._content = content
        self._progress = progress or (lambda _: None)
        self._position = 0

    def move_to(self, position: int) -> None:
        """Report that `position` bytes of the whole are over."""
        if position != self._position:
            self._progress(position - self._position)
        self._position = position

    def open(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes of the content from `offset`; raise Failed if there are fewer."""
        self.move_to(offset)
        end = offset + length
        for piece in self._content(offset):
            part = piece[: end - self._position]
            yield part
            self.move_to(self._position + len(part))
            if self._position >= end:
                return
        # Without this the registry would wait for bytes that never come.
        raise Failed(self._subject, f"the content ended after {self._position} of {end} bytes")


class _Upload:
    """One blob being sent; knows where the registry wants the next part."""

    def __init__(self, blob: Blob, meter: _Meter, size: int) -> None:
        self._blob = blob
        self._meter = meter
        self._size = size
        self._location = ""

    def send_whole(self) -> None:
        """Send everything in one request."""
        self._begin()
        try:
            self._finish(self._size)
        except BaseException:
            self._meter.move_to(0)
            raise

    def send_chunks(self, chunk: int) -> None:
        """Send everything, `chunk` bytes at a time; raise Unavailable when as many tries in a row failed as may."""
        policy = self._blob.policy
        policy.call(self._begin)
        offset, failures = 0, 0
        while offset < self._size:
            try:
                offset = self._send_chunk(offset, min(chunk, self._size - offset))
                failures = 0
            except Unavailable as error:
                failures += 1
                if failures >= policy.attempts or not policy.worth_it(error):
                    raise
                policy.pause(error, failures - 1)
                offset = policy.call(self._received)
        try:
            policy.call(lambda: self._finish(0))
        except NotFound:  # the answer to an earlier try may have been lost, not the try
            if not policy.call(lambda: exists(self._blob)):
                raise

    def _begin(self) -> None:
        blob = self._blob
        question = blob.question("POST", "an upload")
        headers = {"Content-Length": "0"}
        answer = blob.session.ask(question, blob.uploads, scopes=blob.writing, headers=headers, expected={202})
        self._location = blob.session.location(question, answer, blob.uploads)

    def _send_chunk(self, offset: int, length: int) -> int:
        blob = self._blob
        question = blob.question("PATCH")
        target = self._location
        answer = blob.session.ask(
            question,
            target,
            scopes=blob.writing,
            headers={
                "Content-Type": _OCTETS,
                "Content-Length": str(length),
                "Content-Range": f"{offset}-{offset + length - 1}",
            },
            body=lambda: self._meter.open(offset, length),
            expected={202},
        )
        self._location = blob.session.location(question, answer, target)
        return offset + length

    def _finish(self, length: int) -> None:
        """Name the digest, with the last (or only) `length` bytes."""
        blob = self._blob
        mark = "&" if urlsplit(self._location).query else "?"
        answer = blob.session.ask(
            blob.question("PUT"),
            f"{self._location}{mark}{urlencode({'digest': str(blob.digest)})}",
            scopes=blob.writing,
            headers={"Content-Length": str(length), "Content-Type": _OCTETS},
            body=(lambda: self._meter.open(0, length)) if length else b"",
            expected={201},
        )
        blob.session.release(answer)

    def _received(self) -> int:
        """Ask how many bytes arrived; begin again where the registry has forgotten the upload."""
        blob = self._blob
        question = blob.question("GET", "the state of an upload")
        target = self._location
        try:
            answer = blob.session.ask(question, target, scopes=blob.writing, expected={200, 202, 204})
        except NotFound:
            self._begin()
            self._meter.move_to(0)
            return 0
        arrived = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.headers.get("Location"):
            self._location = blob.session.location(question, answer, target)
        else:
            blob.session.release(answer)
        # `0-0` is how registries write "nothing yet" as well as "one byte"; no chunk is that small.
        offset = int(arrived[1]) + 1 if arrived and arrived[1] != "0" else 0
        self._meter.move_to(offset)
        return offset
