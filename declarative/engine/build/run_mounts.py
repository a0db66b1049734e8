"""`RUN --mount`: what each asks for, and making it so for the time of one command.

The rule that keeps it simple: whatever is mounted goes with the stack of the step; a cache's folder alone stays. Nothing that a
command writes through a mount gets into the layer.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from declarative.engine.build.choosing import Choice, choose
from declarative.engine.build.digests import digest_of
from declarative.engine.build.image_files import ImageFiles
from declarative.engine.build.placing import Delivery, place
from declarative.engine.runtime.mounts import bind
from declarative.engine.runtime.rooted import open_in_root
from declarative.engine.runtime.rootfs import mount_overlay, unmount
from declarative.engine.runtime.sandbox import Mount
from declarative.errors import Failed, Invalid, Unsupported
from declarative.oci.suggest import did_you_mean
from declarative.oci.units import parse_size
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from declarative.engine.build import commands as c
    from declarative.engine.build.site import Site
    from declarative.engine.build.state import State
    from declarative.errors import Span

_TRUE = frozenset({"", "1", "true", "yes", "on"})
_SHARING = ("shared", "private", "locked")
_KINDS = ("bind", "cache", "secret", "ssh", "tmpfs")
_SECRETS = "/run/secrets"
_WAIT_SECONDS = 0.1


@record
class Wanted:
    """One mount, its words read. `origin` is what `from` said, `lowers` the folders of what that means (None: the context)."""

    kind: str
    target: str
    source: str = ""
    origin: str = ""
    read_only: bool = False
    id: str = ""
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    required: bool = False
    size: int = 0
    env: str = ""
    origin_id: str = ""
    lowers: tuple[Path, ...] | None = field(default=None, compare=False, repr=False)


@record
class Mounted:
    """What a command gets: mounts, variables, and which paths have to be there for them (True: a folder)."""

    mounts: tuple[Mount, ...] = ()
    env: tuple[str, ...] = ()
    points: tuple[tuple[str, bool], ...] = ()


def read_mounts(
    state: State, step: c.Run, origins: Callable[[str, Span], tuple[str, tuple[Path, ...]]]
) -> tuple[Wanted, ...]:
    """Read the mounts of a RUN. Invalid, at its line, for what makes no sense."""
    return tuple(_Reader(state, step, mount, origins).read() for mount in step.mounts)


class _Reader:
    """The words of one mount."""

    def __init__(
        self,
        state: State,
        step: c.Run,
        mount: c.Mount,
        origins: Callable[[str, Span], tuple[str, tuple[Path, ...]]],
    ) -> None:
        self._span = step.span
        self._state = state
        self._origins = origins
        self._kind = state.scope.expanded(mount.kind, step.span).lower()
        self._values = {
            name: value if name == "from" else state.scope.expanded(value, step.span) for name, value in mount.options
        }

    def read(self) -> Wanted:
        if self._kind not in _KINDS:
            raise self._wrong(f"unsupported mount type {self._kind!r}", did_you_mean(self._kind, _KINDS))
        origin = self._values.get("from", "")
        origin_id, lowers = self._origins(origin, self._span) if origin else ("", None)
        writable = self._switch("rw", "readwrite")
        return Wanted(
            kind=self._kind,
            target=self._target(),
            source=self._one("source", "src"),
            origin=origin,
            read_only=self._switch("ro", "readonly") or (self._kind == "bind" and not writable),
            id=self._values.get("id", ""),
            sharing=self._sharing(),
            mode=self._mode(),
            uid=self._number("uid"),
            gid=self._number("gid"),
            required=self._switch("required"),
            size=parse_size(self._values["size"]) if self._values.get("size") else 0,
            env=self._values.get("env", ""),
            origin_id=origin_id,
            lowers=lowers,
        )

    def _target(self) -> str:
        written = self._one("target", "dst", "destination")
        if not written and self._kind in ("bind", "cache", "tmpfs"):
            raise self._wrong("target is required", "write target=PATH")
        if not written:
            return ""
        path = posixpath.normpath(posixpath.join(self._state.draft.run.working_dir or "/", written))
        path = "/" + path.lstrip("/")
        if path == "/":
            raise self._wrong('invalid mount target "/"', "mount below the root")
        return path

    def _one(self, *names: str) -> str:
        return next((self._values[name] for name in names if self._values.get(name)), "")

    def _switch(self, *names: str) -> bool:
        return any(name in self._values and self._values[name].lower() in _TRUE for name in names)

    def _number(self, name: str) -> int:
        text = self._values.get(name, "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 11):
            raise self._wrong(f"invalid value {text} for {name}", "write a number")
        return int(text or 0)

    def _mode(self) -> int | None:
        text = self._values.get("mode", "")
        if not text:
            return None
        try:
            found = int(text, 8)
        except ValueError:
            found = -1
        if not 0 <= found <= 0o7777:
            raise self._wrong(f"invalid value {text} for mode", "write octal digits, as in 0755")
        return found

    def _sharing(self) -> str:
        found = self._values.get("sharing", "shared").lower()
        if found not in _SHARING:
            remedy = did_you_mean(found, _SHARING) or f"write one of {', '.join(_SHARING)}"
            raise self._wrong(f"unsupported sharing value {found!r}", remedy)
        return found

    def _wrong(self, problem: str, remedy: str) -> Invalid:
        return Invalid("RUN --mount", problem, remedy, str(self._span))


def key_of(site: Site, wanted: Wanted) -> str:
    """Give what the result of a command depends on for this mount: the files that it sees, not what a cache holds."""
    content = wanted.origin_id
    if wanted.kind == "bind" and wanted.lowers is None:
        takings = choose(site.context, Choice(sources=(wanted.source or "/",)))
        content = digest_of((site.context, taking) for taking in takings)
    return repr((wanted, content))


class RunMounts:
    """Mounts what the commands of one build want. Safe to use from several threads."""

    def __init__(self, site: Site, caches: Path) -> None:
        self._site = site
        self._caches = caches

    def mount(self, wanted: tuple[Wanted, ...], stack: ExitStack, warn: Callable[[str], None]) -> Mounted:
        """Make them all; `stack` takes them away. Failed, Invalid, Unsupported."""
        made = Mounted()
        for one in wanted:
            added = self._one(one, stack, warn)
            made = Mounted(
                mounts=(*made.mounts, *added.mounts),
                env=(*made.env, *added.env),
                points=(*made.points, *added.points),
            )
        return made

    def _one(self, wanted: Wanted, stack: ExitStack, warn: Callable[[str], None]) -> Mounted:
        match wanted.kind:
            case "tmpfs":
                options = ("nosuid", *((f"size={wanted.size}",) if wanted.size else ()))
                mount = Mount(target=wanted.target, kind="tmpfs", source="tmpfs", options=options)
                return Mounted(mounts=(mount,), points=((wanted.target, True),))
            case "secret":
                return self._secret(wanted, stack)
            case "ssh":
                return _ssh(wanted, warn)
            case "cache":
                return _bound(self._cache(wanted, stack), wanted)
        return _bound(self._tree(wanted, stack), wanted)

    def _tree(self, wanted: Wanted, stack: ExitStack) -> Path:
        """Give a file or folder of an image or of the context, as it is; what is written to it is lost."""
        lowers = wanted.lowers if wanted.lowers is not None else (self._site.context_folder(),)
        root = _throwaway(self._site, lowers, stack)
        return _inside(root, wanted.source, stack)

    def _cache(self, wanted: Wanted, stack: ExitStack) -> Path:
        """Give a cache's folder; with `locked` it is nobody else's meanwhile, with `private` another if it is in use."""
        name = wanted.id or wanted.target
        said = (name, wanted.origin_id, wanted.source, wanted.uid, wanted.gid, wanted.mode)
        base = hashlib.sha256(repr(said).encode()).hexdigest()[:32]
        for number in range(1000):
            folder = self._caches / (f"{base}.{number}" if number else base)
            self._make_cache(folder, wanted, name, stack)
            if self._lock(folder, wanted, stack):
                return folder / "data"
        raise Failed("RUN --mount=type=cache", f"too many private caches {name}", "prune them: docker builder prune -a")

    def _make_cache(self, folder: Path, wanted: Wanted, name: str, stack: ExitStack) -> None:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        data = folder / "data"
        if data.is_dir():
            os.utime(folder)
            return
        (folder / "name").write_text(name, encoding="utf-8", errors="surrogateescape")
        fresh = self._site.new_folder() / "data"
        fresh.mkdir()
        if wanted.origin:
            source = self._tree(wanted, stack)
            place_all(source, fresh, self._site.parts.clock())
        os.chown(fresh, wanted.uid, wanted.gid)
        fresh.chmod(0o755 if wanted.mode is None else wanted.mode)
        try:
            fresh.rename(data)
        except OSError:  # somebody was faster
            if not data.is_dir():
                raise

    def _lock(self, folder: Path, wanted: Wanted, stack: ExitStack) -> bool:
        """Hold the cache as its sharing says; tell whether this folder is to be used."""
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, fd)
        mode = fcntl.LOCK_SH if wanted.sharing == "shared" else fcntl.LOCK_EX
        while True:
            try:
                fcntl.flock(fd, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if wanted.sharing == "private":
                    return False
                self._site.stop.event.wait(_WAIT_SECONDS)
                self._site.stop.check()
            else:
                return True

    def _secret(self, wanted: Wanted, stack: ExitStack) -> Mounted:
        name = wanted.id or posixpath.basename(wanted.source or wanted.target)
        if not name:
            raise Invalid("RUN --mount=type=secret", "it has neither an id nor a target", "write id=NAME")
        value = self._site.request.secrets.get(name)
        if value is None:
            if wanted.required:
                remedy = "send it with the build (X-Build-Secrets), or leave out `required`"
                raise Failed("", f"secret {name}: not found", remedy)
            return Mounted()
        env: tuple[str, ...] = ()
        if wanted.env:
            env = (f"{wanted.env}={value.decode('utf-8', 'surrogateescape')}",)
            if not wanted.target:
                return Mounted(env=env)
        file = self._site.secret_file(value, stack)
        os.chown(file, wanted.uid, wanted.gid)
        file.chmod(0o400 if wanted.mode is None else wanted.mode)
        target = wanted.target or f"{_SECRETS}/{name}"
        mount = bind(file, target, read_only=True, recursive=False)
        return Mounted(mounts=(mount,), env=env, points=((target, False),))


def clear_cache(folder: Path) -> int | None:
    """Remove a cache's folder; give how many bytes were in it. None where a command has it now: then it stays."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = folder_size(folder)
        shutil.rmtree(folder)
    except BlockingIOError:
        return None
    finally:
        os.close(fd)
    return size


def folder_size(folder: Path) -> int:
    """Give how many bytes the files below a folder have on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def place_all(source: Path, target: Path, now: int) -> None:
    """Copy all that is in a folder into another."""
    with ImageFiles((source,)) as files:
        takings = choose(files, Choice(sources=("/",)))
        place(target, (), ((files, taking) for taking in takings), Delivery(destination="/", now=now))


def _ssh(wanted: Wanted, warn: Callable[[str], None]) -> Mounted:
    problem = "no SSH agent can be forwarded over the build API that this engine has"
    if wanted.required:
        raise Unsupported("RUN --mount=type=ssh", problem, "mount a key as a secret")
    warn(f"RUN --mount=type=ssh: {problem}; the command runs without one")
    return Mounted()


def _bound(source: Path, wanted: Wanted) -> Mounted:
    mount = bind(source, wanted.target, read_only=wanted.read_only, recursive=False)
    return Mounted(mounts=(mount,), points=((wanted.target, source.is_dir()),))


def _throwaway(site: Site, lowers: tuple[Path, ...], stack: ExitStack) -> Path:
    """Mount folders with something to write on, which goes afterwards."""
    folder = site.new_folder()
    for name in ("upper", "work", "root"):
        (folder / name).mkdir()
    mount_overlay(lowers, folder / "upper", folder / "work", folder / "root", volatile=True)
    stack.callback(unmount, folder / "root")
    return folder / "root"


def _inside(root: Path, source: str, stack: ExitStack) -> Path:
    """Find a path inside a root, through its own links; nobody else writes there meanwhile."""
    try:
        fd = open_in_root(root, source.lstrip("/") or ".", os.O_PATH)
    except OSError as error:
        raise Failed("", f"failed to find {source} for a mount: {error.strerror}") from error
    stack.callback(os.close, fd)
    return Path(f"/proc/self/fd/{fd}").readlink()
