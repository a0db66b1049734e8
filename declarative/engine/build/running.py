"""RUN as a job: the words to execute, what they depend on, and running them over the layers below.

The rule that keeps it simple: what the engine itself needs in the root file system, mount points and files such as /etc/hosts,
is a layer below all of the image's. So the layer that a command leaves holds what the command did, and nothing of ours.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from declarative.engine.build.draft import command_run, command_words
from declarative.engine.build.job import Job
from declarative.engine.build.run_mounts import key_of, read_mounts
from declarative.engine.runtime.mounts import bind
from declarative.engine.runtime.rooted import open_in_root
from declarative.engine.runtime.rootfs import mount_overlay, unmount
from declarative.engine.runtime.sandbox import Mount, Namespaces, Sandbox
from declarative.engine.runtime.streams import STDERR
from declarative.engine.runtime.users import resolve_user
from declarative.errors import Failed, Unsupported
from declarative.oci.dockerfile.heredoc import parse_heredoc
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from declarative.engine.build import commands as c
    from declarative.engine.build.output import Voice
    from declarative.engine.build.run_mounts import Mounted, RunMounts, Wanted
    from declarative.engine.build.run_network import RunNetwork
    from declarative.engine.build.site import Site
    from declarative.engine.build.state import State
    from declarative.errors import Span

_PIPES = "/dev/pipes"
"""Where BuildKit puts the scripts of here-documents."""
_FOLDERS = ("dev", "etc", "proc", "sys")
_FILES = (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf")


class CommandFailed(Failed):
    """A command ended with another code than 0."""

    def __init__(self, problem: str, code: int) -> None:
        super().__init__("", problem)
        self.code = code


@record
class Command:
    """What a RUN executes; `script`: a here-document that is run as a program, None for none."""

    words: tuple[str, ...]
    script: bytes | None = None


@record
class Surroundings:
    """What commands of one stage share: the network, the mounts, the layer below all others."""

    network: RunNetwork
    mounts: RunMounts
    bottom: Path


def make_bottom(folder: Path) -> Path:
    """Make the layer below all others, once: what containers need in a root file system, where the image lacks it."""
    for name in _FOLDERS:
        (folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
        (folder / name).chmod(0o755)
    for name in _FILES:
        (folder / name).touch(mode=0o644)
    if not (folder / "etc/mtab").is_symlink():
        (folder / "etc/mtab").symlink_to("/proc/mounts")
    return folder


def run_job(
    site: Site,
    state: State,
    step: c.Run,
    voice: Voice,
    around: Surroundings,
    origins: Callable[[str, Span], tuple[str, tuple[Path, ...]]],
) -> Job:
    """Prepare a RUN. Invalid, Unsupported."""
    if step.security == "insecure":
        raise Unsupported("", "RUN --security=insecure is not allowed here", "run such a command in a container")
    command = read_command(state, step)
    wanted = read_mounts(state, step, origins)
    network = around.network.mode(step)
    says = command_run(command.words, state.scope.run_args)
    inputs = (repr(command), network, *(key_of(site, each) for each in wanted))
    container = site.new_id()

    def act(upper: Path) -> None:
        run = _Run(site, state, voice, around, container)
        code = run.run(upper, command, wanted, network)
        site.stop.check()
        if code:
            shown = " ".join(command.words)
            raise CommandFailed(f"The command '{shown}' returned a non-zero code: {code}", code)

    return Job(says=says, inputs=inputs, act=act, container=container)


def read_command(state: State, step: c.Run) -> Command:
    """Give the words: the exec form, the shell's with the line, or what here-documents make of it."""
    heredocs = step.command.heredocs
    if not heredocs:
        return Command(words=command_words(state.draft, step.command))
    line = step.command.words[0]
    first = heredocs[0]
    if parse_heredoc(line) is not None and len(heredocs) == 1:
        text = first.text
        if text.startswith("#!"):
            script = text.encode("utf-8", "surrogateescape")
            return Command(words=(*state.draft.shell, f"{_PIPES}/{first.name}"), script=script)
        return Command(words=(*state.draft.shell, text))
    for heredoc in heredocs:
        line += f"\n{heredoc.content}{heredoc.name}"
    return Command(words=(*state.draft.shell, line))


class _Run:
    """One command on its way."""

    def __init__(self, site: Site, state: State, voice: Voice, around: Surroundings, container: str) -> None:
        self._site = site
        self._state = state
        self._voice = voice
        self._around = around
        self._id = container

    def run(self, upper: Path, command: Command, wanted: tuple[Wanted, ...], network: str) -> int:
        """Run it over the state's layers, writing to `upper`; give its exit code."""
        with ExitStack() as stack:
            mounted = self._around.mounts.mount(wanted, stack, self._voice.warning)
            folder = self._site.new_folder()
            mounts = (*self._engine_files(folder, network), *self._script(folder, command), *mounted.mounts)
            points = self._points(folder, mounted)
            root = folder / "root"
            for made in (root, folder / "work"):
                made.mkdir()
            lowers = (*self._state.lowers(self._site.parts.images), *points, self._around.bottom)
            mount_overlay(lowers, upper, folder / "work", root, volatile=True)
            stack.callback(unmount, root)
            stubs = _Stubs(root, [mount.target for mount in mounts])
            stack.callback(stubs.remove)
            sandbox = self._sandbox(root, command, mounts, mounted, network)
            ended = self._site.parts.runtime.run_once(sandbox, self._heard, cancelled=self._site.stop.__bool__)
            self._voice.ended()
            return ended.code

    def _heard(self, stream: int, data: bytes) -> None:
        (self._voice.err if stream == STDERR else self._voice.out)(data)

    def _sandbox(
        self, root: Path, command: Command, mounts: tuple[Mount, ...], mounted: Mounted, network: str
    ) -> Sandbox:
        run = self._state.draft.run
        request = self._site.request
        short = self._id[:12]
        user = resolve_user(root, run.user)
        env = (*self._state.scope.run_env, *mounted.env)
        said = {entry.partition("=")[0] for entry in env}
        usual = {"HOSTNAME": short, "HOME": user.home}  # the runtime knows no HOME of a user without an account
        env = (*env, *(f"{name}={value}" for name, value in usual.items() if name not in said))
        return Sandbox(
            id=self._id,
            rootfs=root,
            args=command.words,
            env=env,
            cwd=run.working_dir or "/",
            user=user,
            hostname=short,
            mounts=mounts,
            shm_size=request.shm_size,
            namespaces=Namespaces(network=self._around.network.namespace(network)),
            resources=request.resources,
            rlimits=request.rlimits,
            cgroup_parent="/" + (request.cgroup_parent or self._site.parts.settings.cgroup_parent).strip("/"),
        )

    def _engine_files(self, folder: Path, network: str) -> tuple[Mount, ...]:
        files = self._around.network.files(network, self._id[:12])
        mounts = []
        for name, text in files.items():
            file = folder / name
            file.write_text(text)
            file.chmod(0o644)
            mounts.append(bind(file, f"/etc/{name}", recursive=False))
        return tuple(mounts)

    def _script(self, folder: Path, command: Command) -> tuple[Mount, ...]:
        if command.script is None:
            return ()
        scripts = folder / "pipes"
        scripts.mkdir(mode=0o755)
        scripts.chmod(0o755)
        script = scripts / os.path.basename(command.words[-1])  # noqa: PTH119 - of a path in the container
        script.write_bytes(command.script)
        script.chmod(0o755)
        return (bind(scripts, _PIPES, read_only=True, recursive=False),)

    def _points(self, folder: Path, mounted: Mounted) -> tuple[Path, ...]:
        """Make a layer with the mount points of this command, to be below those of the image."""
        if not mounted.points:
            return ()
        points = folder / "points"
        points.mkdir(mode=0o755)
        points.chmod(0o755)
        for target, is_folder in mounted.points:
            point = points / target.lstrip("/")
            with suppress(FileExistsError, NotADirectoryError):
                (point if is_folder else point.parent).mkdir(mode=0o755, parents=True, exist_ok=True)
            if not is_folder:
                point.touch(mode=0o644)
        return (points,)


class _Stubs:
    """Mount points that are not there and that the runtime will make: they are not the command's."""

    def __init__(self, root: Path, targets: list[str]) -> None:
        self._root = root
        self._missing = [target for target in targets if not self._is_there(target)]

    def remove(self) -> None:
        """Take them away again, where they are empty, with the folders that were made for them."""
        for target in self._missing:
            above, _, name = target.rstrip("/").rpartition("/")
            with suppress(OSError):
                fd = open_in_root(self._root, above.lstrip("/") or ".", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    _remove_empty(fd, name)
                finally:
                    os.close(fd)

    def _is_there(self, target: str) -> bool:
        if target.startswith(("/dev/", "/proc/", "/sys/")):
            return True  # in what the runtime mounts
        try:
            os.close(open_in_root(self._root, target.lstrip("/"), os.O_PATH))
        except OSError:
            return False
        return True


def _remove_empty(folder: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=folder)
    except NotADirectoryError:
        if not os.stat(name, dir_fd=folder, follow_symlinks=False).st_size:
            os.unlink(name, dir_fd=folder)
