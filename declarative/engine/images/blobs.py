"""The blobs of an OCI image layout (image-spec, image-layout.md): content under `blobs/ALGORITHM/HEX`.

The rule that keeps it simple: a name under `blobs` appears by one rename, after its bytes were verified and are on the disk.
So a crash at any instant leaves whole blobs and, in `ingest`, what had not become one. There, `HEX.partial` may be continued
for a day, or until unused images are removed; any other leftover goes when the store is opened. Whoever writes such a file
holds its flock.

With a `Settler` nobody waits for the disk: a blob that may not be on it yet has mode 0600, a settled one 0644. After a reboot
those of the first kind are read again, and go where they are not what they were.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from declarative.engine.images.disk import is_full, saying
from declarative.engine.images.settle import boot_id
from declarative.errors import Invalid, NotFound
from declarative.oci.digest import REGISTERED, Digest, DigestMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Self

    from declarative.engine.images.settle import Settler

_UNSETTLED = 0o600
_SETTLED = 0o644
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1 << 20
_PARTIAL_KEPT = 24 * 3600.0
"""Seconds: who wants a pull that broke tries again the same day."""


def _random_name() -> str:
    return secrets.token_hex(16)


class BlobStore:
    """The blobs below one folder. `name` makes names for temporary files. Safe to use from several threads.

    Without a `settler`, every blob is on the disk before it has its name. `boot` names the run of the kernel.
    """

    def __init__(
        self,
        root: Path,
        name: Callable[[], str] = _random_name,
        *,
        settler: Settler | None = None,
        boot: str | None = None,
    ) -> None:
        """Open the store below `root`, made if it is missing; remove what a crash left. Failed where the disk is full."""
        self.root = root
        self._settler = settler
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        self._name = name
        with saying(str(root)):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is in images is for nobody's eyes but root's
            for folder in (root, self._blobs, self._blobs / "sha256", self._ingest):
                _make_folder(folder)
            self._check_layout()
            self.rebooted = self._check_boot(boot_id() if boot is None else boot)
            """Whether the kernel was started anew since the store was open last, or it is new."""
            self.sweep(0 if self.rebooted else _PARTIAL_KEPT)

    def has(self, digest: Digest) -> bool:
        """Tell whether the blob is here, whole."""
        return self.path(digest).is_file()

    def path(self, digest: Digest) -> Path:
        """Give the place of a blob, which need not exist. Invalid for a digest that `Digest.parse` would refuse."""
        checked = Digest.parse(str(digest))  # a digest of a hostile document must never become another path
        return self._blobs / checked.algorithm / checked.hex

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading. NotFound where it is not here."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise NotFound(str(digest), "no such blob in this store") from None

    def size(self, digest: Digest) -> int:
        """Give the size of a blob in bytes. NotFound where it is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(str(digest), "no such blob in this store") from None

    def read(self, digest: Digest) -> bytes:
        """Read a small blob, such as a manifest, and check it. NotFound, DigestMismatch."""
        with self.open(digest) as file:
            return digest.check(file.read(), f"blob {digest}")

    def modified(self, digest: Digest) -> float:
        """Give when a blob came, in seconds since 1970; never, which is infinity, for one that has gone."""
        try:
            return self.path(digest).stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def damage(self, digest: Digest) -> str:
        """Read a blob to its end and say what is wrong with it, "" where nothing is."""
        try:
            with self.open(digest) as file:
                found = Digest.of_chunks(iter(lambda: file.read(_CHUNK), b""), digest.algorithm)
        except NotFound:
            return "missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if found == digest else "damaged: its bytes are others"

    def remove(self, digest: Digest) -> bool:
        """Remove a blob; tell whether it was here. Who has it open reads on."""
        path = self.path(digest)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        if self._settler is None:
            _sync_folder(path.parent)
        return True

    def __iter__(self) -> Iterator[Digest]:
        """Give the digests of all blobs in order. Files that are not named by a digest are passed over."""
        for algorithm in sorted(REGISTERED):
            folder = self._blobs / algorithm
            for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
                with suppress(Invalid):
                    yield Digest.parse(f"{algorithm}:{name}")

    @contextmanager
    def ingest(self, expected: Digest | None = None, subject: str = "") -> Iterator[Ingest]:
        """Take a blob in: write to what this gives; leaving the block verifies and publishes it.

        With `expected`, an earlier part is continued: ask `offset`. Left by an error, what was written stays as such a part.
        DigestMismatch where the bytes are others, Failed where the disk is full: then nothing of it is kept.
        """
        with saying(subject or str(expected or "blob")):
            ingest = self._begin(expected, subject)
            try:
                yield ingest
                self._publish(ingest)
            except BaseException as error:
                ingest.abandon(keep=not isinstance(error, DigestMismatch) and not is_full(error))
                raise

    def add(self, content: bytes, expected: Digest | None = None) -> Digest:
        """Take in a blob that is in memory, such as a manifest; errors as of `ingest`."""
        with self.ingest(expected) as blob:
            blob.write(content)
        return blob.digest

    def sweep(self, older: float = 0) -> int:
        """Remove parts of blobs that nobody writes; give their bytes. Those that may be continued stay for `older` seconds."""
        removed = 0
        for path in sorted(self._ingest.iterdir()):
            if older and path.suffix == ".partial" and time.time() - path.stat().st_mtime < older:
                continue
            fd = _open_locked(path)
            if fd is not None:
                removed += os.fstat(fd).st_size
                path.unlink()
                os.close(fd)
        return removed

    def _check_layout(self) -> None:
        layout = self.root / "oci-layout"
        if not layout.exists() or not layout.stat().st_size:
            temporary = self._ingest / f"{self._name()}.tmp"
            temporary.write_bytes(_LAYOUT)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.rename(layout)
            _sync_folder(self.root)

    def _check_boot(self, boot: str) -> bool:
        """Read again what may not have reached the disk before a reboot; tell whether there was one."""
        file = self.root / "boot"
        rebooted = not file.is_file() or file.read_text() != boot
        for digest in self:
            path = self.path(digest)
            if stat.S_IMODE(path.stat().st_mode) != _UNSETTLED:
                continue
            if rebooted and self.damage(digest):
                path.unlink()
            else:
                self._settle_later(digest)
        if rebooted:
            temporary = self._ingest / f"{self._name()}.tmp"
            temporary.write_text(boot)
            temporary.rename(file)
        return rebooted

    def _settle_later(self, digest: Digest) -> None:
        if self._settler is not None:
            self._settler.note(self._settled, digest)

    def _settled(self, digests: list[Digest]) -> None:
        for digest in digests:
            with suppress(FileNotFoundError):
                self.path(digest).chmod(_SETTLED)

    def _begin(self, expected: Digest | None, subject: str) -> Ingest:
        if expected is not None:
            partial = self._ingest / f"{self.path(expected).name}.partial"
            fd = _open_locked(partial)
            if fd is not None:
                return Ingest(fd, partial, expected, subject)
        while True:
            temporary = (
                self._ingest / f"{self._name()}.tmp"
            )  # nobody can continue it, or somebody is writing the same blob
            fd = _open_locked(temporary)
            if fd is not None:  # else a sweep took it for a leftover at this very moment
                return Ingest(fd, temporary, expected, subject)

    def _publish(self, ingest: Ingest) -> None:
        digest = ingest.finish(sync=self._settler is None)
        target = self.path(digest)
        _make_folder(target.parent)
        ingest.path.rename(target)  # over a blob of the same content, where two took it in at once
        if self._settler is None:
            _sync_folder(target.parent)
        self._settle_later(digest)
        ingest.close()


class Ingest:
    """A blob on its way in. `offset` is how many bytes are here already, some perhaps from an earlier attempt."""

    def __init__(self, fd: int, path: Path, expected: Digest | None, subject: str) -> None:
        self.path = path
        self.offset = 0
        self._fd = fd
        self._expected = expected
        self._subject = subject
        self._hasher = hashlib.new(expected.algorithm if expected else "sha256")
        while chunk := os.pread(fd, _CHUNK, self.offset):
            self._hasher.update(chunk)
            self.offset += len(chunk)

    def __enter__(self) -> Self:
        return self

    @property
    def digest(self) -> Digest:
        """The digest of the bytes so far."""
        return Digest(algorithm=self._hasher.name, hex=self._hasher.hexdigest())

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`. Failed where the disk is full."""
        rest = memoryview(data)
        while rest:
            with saying(self._subject or str(self._expected or "blob")):
                written = os.pwrite(self._fd, rest, self.offset)
            self._hasher.update(rest[:written])
            self.offset += written
            rest = rest[written:]

    def restart(self) -> None:
        """Forget what was there: the other side cannot continue."""
        os.ftruncate(self._fd, 0)
        self.offset = 0
        self._hasher = hashlib.new(self._hasher.name)

    def finish(self, *, sync: bool) -> Digest:
        """Verify the bytes; with `sync`, bring them to the disk."""
        if self._expected is not None:
            self._expected.require(self.digest, self._subject)
        if sync:
            os.fchmod(self._fd, _SETTLED)
            os.fsync(self._fd)
        return self.digest

    def abandon(self, *, keep: bool) -> None:
        """Give up; with `keep`, a later attempt finds the bytes so far."""
        if not (keep and self.offset and self.path.suffix == ".partial"):
            with suppress(FileNotFoundError):
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_locked(path: Path) -> int | None:
    """Open (or make) a file and take its lock; None where somebody else has it, or removed it meanwhile."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink and path.stat().st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o711, parents=True, exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
