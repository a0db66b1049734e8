"""Files as the tar archive of `PUT /containers/NAME/archive?path=ROOT`. Secrets are revealed here.

The rule: the same files make the same bytes; folders are left to the engine, which makes those that are missing.
Nothing follows the end of the archive: Podman 4.3 takes it for an error that nobody reads what does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.core.resources import FileEntry


def archive_of(files: Sequence[FileEntry], root: str = "/") -> bytes:
    """Pack files, to be unpacked in the folder `root`."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in files:
            content = entry.content.reveal().encode() if isinstance(entry.content, Secret) else entry.content
            member = tarfile.TarInfo(entry.target.removeprefix(root).lstrip("/"))
            member.size, member.mode, member.uid, member.gid = len(content), entry.mode, entry.uid, entry.gid
            archive.addfile(member, io.BytesIO(content))
        end = buffer.tell() + 2 * tarfile.BLOCKSIZE
    return buffer.getvalue()[:end]
