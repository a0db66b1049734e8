"""Takes secrets out of text that comes back from outside: what a container printed, what a builder says, an engine's words.

The rule that keeps it simple: our own texts never hold a secret (its type prints as `***`); whatever an engine gives us may, and
goes through here before anybody sees it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.apply.trouble import reworded
from declarative.core.resources import BuildSource
from declarative.core.secret import MASK, Secret
from declarative.errors import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from declarative.core.resources import Desired
    from declarative.errors import DeclarativeError

SHORTEST = 4
"""Characters of the shortest secret that is looked for: one of two letters is in every text, and no secret."""

_UNQUOTED = ("", "/", "!'()*", "$&+,;=")
"""What languages leave as it is in a quoted part of an address (RFC 3986, section 2): strict ones, Python, JavaScript, Go."""
_LONGEST_QUOTED = 4096
"""Characters of the longest secret that is looked for in other forms: a password or a token, and no store of certificates."""


class Mask:
    """Hides the secrets of one stack."""

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        values = {form for secret in secrets for part in _parts(secret.reveal()) for form in _forms(part)}
        self._values = sorted(values, key=len, reverse=True)  # one may be part of another

    def text(self, text: str) -> str:
        """Give the text with `***` for every secret in it."""
        for value in self._values:
            if value in text:
                text = text.replace(value, MASK)
        return text

    def error(self, error: DeclarativeError) -> DeclarativeError:
        """Give an error whose words hold no secret; the same one where they never did."""
        problem = self.text(error.problem)
        output = self.text(error.output) if isinstance(error, Failed) else ""
        if problem == error.problem and (not isinstance(error, Failed) or output == error.output):
            return error
        hidden = reworded(error, problem=problem)
        if isinstance(hidden, Failed):
            hidden.output = output
        return hidden


def _parts(value: str) -> Iterator[str]:
    """Give a secret and, where it has several lines, each of them: output is cut into lines on its way."""
    for part in (value, *value.splitlines()):
        if len(part.strip()) >= SHORTEST:
            yield part.strip()


def _forms(part: str) -> Iterator[str]:
    """Give a text, and how programs write it into an address or JSON: a refused `postgres://user:p%40ss@db` is told as it is."""
    import json
    from urllib.parse import quote, quote_plus

    yield part
    if (part.isalnum() and part.isascii()) or len(part) > _LONGEST_QUOTED:
        return
    yield quote_plus(part)
    for plain in _UNQUOTED:
        yield quote(part, safe=plain)
    for ascii_only in (True, False):
        yield json.dumps(part, ensure_ascii=ascii_only)[1:-1]


def secrets_of(desired: Desired) -> Iterator[Secret]:
    """Name every secret that a stack's manifests hold."""
    for spec in (
        *(container.spec for container in desired.containers.values()),
        *(job.spec for job in desired.jobs.values()),
    ):
        yield from (value for value in spec.environment.values() if isinstance(value, Secret))
        yield from (entry.content for entry in spec.files if isinstance(entry.content, Secret))
    for image in desired.images.values():
        if isinstance(image.spec.source, BuildSource):
            yield from image.spec.source.secrets.values()
            yield from (value for value in image.spec.source.args.values() if isinstance(value, Secret))
