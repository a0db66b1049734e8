"""Files from the web: sources of ADD, and contexts.

The rule that keeps it simple: bytes go to the disk as they come, and are counted and hashed there; who waits for them can
always stop. What an address says of user and password is never shown, and told to its own host alone.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from declarative.engine.build.output import Report
from declarative.engine.images.progress import Progress
from declarative.errors import Failed, Invalid, Unavailable
from declarative.oci.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3 import BaseHTTPResponse

    from declarative.engine.build.context import Context
    from declarative.engine.build.output import Voice
    from declarative.engine.build.solver import Stop
    from declarative.registry.proxies import Proxies

_CONNECT_SECONDS, _READ_SECONDS = 30.0, 60.0
_REDIRECTS = 10  # as Go's client follows
_CHUNK = 1 << 18
_TOLD_EVERY = 0.5
"""Seconds between two messages of progress."""
_MODE = 0o600
_SECOND = 1_000_000_000


class Answer:
    """What a web server gave: its body in pieces, its type, when the thing was changed last (nanoseconds, 0: unknown)."""

    def __init__(self, pieces: Iterator[bytes], content_type: str, modified: int, size: int) -> None:
        self.pieces = pieces
        self.content_type = content_type
        self.modified = modified
        self.size = size


def is_url(text: str) -> bool:
    """Tell whether a source of ADD is to be fetched."""
    return text.lower().startswith(("http://", "https://"))


@contextmanager
def fetching(url: str, stop: Stop, proxies: Proxies) -> Iterator[Answer]:
    """Ask for a URL. Failed for a refusal, Unavailable where nothing answers."""
    import urllib3  # of builds with a URL alone

    shown = without_user(url)
    try:
        with _asking(url, proxies) as response:
            if response.status != 200:
                raise Failed("", f"failed to GET {shown} with status {response.status} {response.reason}")
            yield Answer(
                pieces=_pieces(response.stream, stop),
                content_type=response.headers.get("Content-Type", "").partition(";")[0].strip().lower(),
                modified=_time(response.headers.get("Last-Modified", "")),
                size=int(response.headers.get("Content-Length", "0") or 0),
            )
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("", f"failed to GET {shown}: {error}", "see whether the address is right") from error


@contextmanager
def _asking(url: str, proxies: Proxies) -> Iterator[BaseHTTPResponse]:
    """Ask for a URL, and where that is elsewhere, there: each host has its own way (`proxies`) and its own login."""
    import urllib3

    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS)
    login = _login(url)
    for _ in range(_REDIRECTS + 1):
        with proxies.connect(url, retries=urllib3.Retry(3, backoff_factor=0.5)) as pool:
            # the login is a header: a proxy is told the whole address, and so is who reads an error
            bare = without_user(url)
            response = pool.request("GET", bare, preload_content=False, redirect=False, timeout=timeout, headers=login)
            with closing(response):
                location = response.get_redirect_location()
                if not location:
                    yield response
                    return
        there = _joined(url, location)
        login = _login(there) or (login if _origin(there) == _origin(url) else {})
        url = there
    raise Unavailable("", f"failed to GET {without_user(url)}: it is sent on more than {_REDIRECTS} times")


def fetch_into(
    context: Context, url: str, *, into: str, checksum: str, voice: Voice, stop: Stop, proxies: Proxies
) -> bytes:
    """Fetch a file for ADD; give the name that it has in `context`. Invalid where a folder wants a name and there is none."""
    name = os.path.basename(unquote(urlsplit(url).path))  # noqa: PTH119 - of a URL
    if not name and (not into or into.endswith(("/", "/."))):
        raise Invalid(
            "", f"cannot determine filename from url: {without_user(url)}", "write the name after the folder's"
        )
    expected = _checksum(checksum)
    hasher = hashlib.new(expected.algorithm) if expected else None
    with fetching(url, stop, proxies) as answer:
        pieces = _told(answer, voice.message, time.monotonic)
        path = os.fsencode(name) or b"download"
        context.add_pieces(path, _hashed(pieces, hasher.update) if hasher else pieces, _MODE, answer.modified)
    if expected is not None and hasher is not None:
        found = Digest(algorithm=expected.algorithm, hex=hasher.hexdigest())
        if found != expected:
            raise Invalid("", f"digest mismatch {found}: {expected}", "the file is another than it was")
    return path


def without_user(url: str) -> str:
    """Show a URL without its user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _login(url: str) -> dict[str, str]:
    import urllib3

    auth = urlsplit(url).netloc.rpartition("@")[0]
    return dict(urllib3.make_headers(basic_auth=unquote(auth))) if auth else {}


def _joined(url: str, location: str) -> str:
    from urllib3.exceptions import LocationParseError

    try:
        return urljoin(url, location)
    except ValueError as error:
        raise LocationParseError(location) from error


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2]


def _pieces(stream: Callable[[int], Iterator[bytes]], stop: Stop) -> Iterator[bytes]:
    for piece in stream(_CHUNK):
        stop.check()
        yield piece


def _hashed(pieces: Iterator[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        update(piece)
        yield piece


def _told(answer: Answer, say: Callable[[Report], None], clock: Callable[[], float]) -> Iterator[bytes]:
    """Tell of progress, where it takes a while."""
    done, last = 0, clock()
    for piece in answer.pieces:
        yield piece
        done += len(piece)
        if clock() - last >= _TOLD_EVERY:
            last = clock()
            say(Report(progress=Progress(status="Downloading", current=done, total=answer.size)))


def _time(text: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(text).timestamp()) * _SECOND if text else 0
    except ValueError:
        return 0


def _checksum(text: str) -> Digest | None:
    return Digest.parse(text) if text else None
