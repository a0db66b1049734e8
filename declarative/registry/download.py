"""A blob on its way to us: a stream with a digest at its end (distribution-spec, "Pulling blobs").

The rule: memory holds one piece, never a blob; a cut is mended from where it happened; whoever reads keeps nothing before
the stream ended well.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from declarative.errors import Unavailable
from declarative.oci.digest import Digest, DigestMismatch
from declarative.registry.failure import no_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from urllib3 import BaseHTTPResponse

    from declarative.registry.blobs import Blob, Progress
    from declarative.registry.failure import Question

# Large enough that the work per piece does not count, small enough to keep sixteen transfers in memory.
_PIECE = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-", re.ASCII)


def download(
    blob: Blob, *, size: int | None = None, have: Iterable[bytes] = (), progress: Progress | None = None
) -> Iterator[bytes]:
    """Yield the bytes of a blob behind those we `have`; raise DigestMismatch after the last if the whole is not it.

    After a cut the rest is asked for, as often as the policy says without any progress in between.
    """
    hasher = hashlib.new(blob.digest.algorithm)
    offset = 0
    for piece in have:
        hasher.update(piece)
        offset += len(piece)
    for piece in _pieces(blob, offset, size):
        hasher.update(piece)
        if progress is not None:
            progress(len(piece))
        yield piece
    blob.digest.require(Digest(algorithm=blob.digest.algorithm, hex=hasher.hexdigest()), blob.subject)


def read(blob: Blob, *, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of a blob behind `offset`, resumed after cuts as in `download`, and not checked: the caller does."""
    return _pieces(blob, offset, size)


def _pieces(blob: Blob, offset: int, size: int | None) -> Iterator[bytes]:
    """Yield what follows `offset`, over as many connections as it takes."""
    failures = 0
    while size is None or offset < size:
        try:
            for piece in _stream(blob, offset, size):
                failures = 0
                offset += len(piece)
                yield piece
        except Unavailable as error:
            failures += 1
            if failures >= blob.policy.attempts or not blob.policy.worth_it(error):
                raise
            blob.policy.pause(error, failures - 1)
        else:
            return


def _stream(blob: Blob, offset: int, size: int | None) -> Iterator[bytes]:
    """Yield what follows `offset` out of one answer; raise Unavailable if it ends before `size`."""
    question = blob.question("GET")
    answer = blob.session.ask(
        question,
        blob.target,
        scopes=blob.reading,
        headers={"Range": f"bytes={offset}-"} if offset else {},
        expected={200, 206, 416} if offset else {200},
    )
    if answer.status == 416:  # nothing behind the offset: the digest tells whether that is the end
        blob.session.release(answer)
        return
    for piece in _body(question, answer, _to_skip(question, answer, offset)):
        offset += len(piece)
        if size is not None and offset > size:
            raise DigestMismatch(question.subject, f"{question.what} is longer than its {size} bytes")
        yield piece
    if size is not None and offset < size:
        raise Unavailable(question.subject, f"{question.what} ended after {offset} of {size} bytes")


def _body(question: Question, answer: BaseHTTPResponse, skip: int) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError

    ended = False
    try:
        for piece in answer.stream(_PIECE, decode_content=False):
            if skip < len(piece):
                yield bytes(piece[skip:])
            skip = max(0, skip - len(piece))
        ended = True
    except (HTTPError, OSError) as error:
        raise no_answer(question, error) from error
    finally:
        # A connection with unread content on it must not go back to the pool.
        if ended:
            answer.release_conn()
        else:
            answer.close()


def _to_skip(question: Question, answer: BaseHTTPResponse, offset: int) -> int:
    """Return how many bytes of the answer we have already; raise Unavailable if it begins somewhere else."""
    if answer.status == 200:
        return offset  # the server does not do ranges
    begins = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
    if begins is None or int(begins[1]) != offset:
        answer.close()
        raise Unavailable(question.subject, f"{question} was answered with another part than the one asked for")
    return 0
