"""The images that a build starts from or takes from: those that are here, those that have to be pulled.

The rule that keeps it simple: each is looked up once in a build, so that all its stages have the same one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from declarative.engine.build.output import Report
from declarative.engine.images.progress import Progress
from declarative.errors import Failed, Invalid, NotFound
from declarative.oci.platform import Platform
from declarative.oci.reference import Reference, parse_any

if TYPE_CHECKING:
    from declarative.engine.build.output import Voice
    from declarative.engine.build.request import BuildRequest
    from declarative.engine.build.site import Parts
    from declarative.engine.build.solver import Stop
    from declarative.engine.images.image import Image
    from declarative.engine.images.progress import Event
    from declarative.errors import Span


class Bases:
    """The images of one build. Safe to use from several threads."""

    def __init__(self, parts: Parts, request: BuildRequest, holder: str, stop: Stop) -> None:
        self._parts = parts
        self._stop = stop
        self._request = request
        self._holder = holder
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Image] = {}

    def find(self, name: str, platform: Platform | None, voice: Voice, span: Span) -> Image:
        """Give an image by what a Dockerfile calls it. NotFound, Denied, Unavailable; Invalid for what is no name."""
        with self._lock:
            known = self._found.get((name, str(platform or "")))
            if known is None:
                known = self._look(name, platform, voice, span)
                self._parts.images.hold(known.id, self._holder)
                self._found[name, str(platform or "")] = known
            return known

    def _look(self, name: str, platform: Platform | None, voice: Voice, span: Span) -> Image:
        try:
            wanted = parse_any(name)
        except Invalid as error:
            problem = f'failed to parse stage name "{name}": invalid reference format: {error.problem}'
            raise Invalid("", problem, error.remedy, str(span)) from error
        if not (self._request.pull and isinstance(wanted, Reference)):
            try:
                image = self._parts.images.resolve(name)
            except NotFound:
                if not isinstance(wanted, Reference):
                    raise
            else:
                if platform is None or _fits(image, platform) or not isinstance(wanted, Reference):
                    return image
        image = self._pull(wanted, platform, voice)
        if platform is not None and not _fits(image, platform):
            found = image.config.platform
            problem = f"image with reference {name} was found but does not match the specified platform"
            raise Failed("", f"{problem}: wanted {platform}, actual: {found}", "name another platform")
        return image

    def _pull(self, wanted: Reference, platform: Platform | None, voice: Voice) -> Image:
        def tell(event: Event) -> None:
            if isinstance(event, Progress):
                voice.message(Report(progress=event))

        pulled = self._parts.puller.pull(
            wanted,
            platform=platform,
            credential=self._request.credentials.get(wanted.domain),
            tell=tell,
            gone=self._stop.__bool__,
        )
        return pulled.image


def stage_platform(text: str, request: BuildRequest, span: Span) -> Platform | None:
    """Give the platform that a stage asks for; None where nobody asks. Invalid."""
    if not text:
        return request.platform
    try:
        return Platform.parse(text)
    except Invalid as error:
        raise Invalid("", f"failed to parse platform {text}: {error.problem}", error.remedy, str(span)) from error


def _fits(image: Image, platform: Platform) -> bool:
    return image.config.platform in platform.runnable()
