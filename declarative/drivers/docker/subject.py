"""Errors that name the object they are about.

The client knows only the engine's address; here "container web-1" or "image app:1" is put in its place, and the address stays
where it helps: on errors of reaching the engine at all.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from declarative.errors import DeclarativeError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def about(subject: str, address: str) -> Iterator[None]:
    """Let errors of the engine at `address` be errors of `subject`; those with a subject of their own stay as they are."""
    try:
        yield
    except DeclarativeError as error:
        if error.subject == address:
            error.subject = f"{subject} at {address}" if isinstance(error, Unavailable) else subject
        raise
