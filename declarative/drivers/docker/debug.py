"""The state before a build step that failed, as an image for a shell, and gone afterwards.

The rule: only an image that was not there before is removed: the state may be that of a base image, or a layer of the builder's.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from declarative.dockerapi.wire import quote_name
from declarative.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from declarative.core.actions import BuildImage
    from declarative.drivers.docker.driver import DockerDriver
    from declarative.drivers.port import BuildFailed, Progress


@contextmanager
def state_before(
    driver: DockerDriver, action: BuildImage, failure: BuildFailed, report: Callable[[Progress], None]
) -> Iterator[str]:
    """Give the image's id; "" where the builder kept no state."""
    client = driver.client
    before = {item["Id"] for item in client.get_json("/images/json", {"all": True})}
    image = driver.debug_image(action, failure, report)
    try:
        yield image
    finally:
        if image.startswith("sha256:") and image not in before:
            with suppress(NotFound, Conflict):
                client.delete(f"/images/{quote_name(image)}")
