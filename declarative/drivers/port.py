"""The contract between the tool and an engine. Written to be read alone: who implements it needs no other page.

Words
    stack      all resources of one name. Objects of a stack carry `declarative.stack` and three more labels (core.state).
    owned      carries this stack's labels. Everything else is foreign: a driver reports it, nobody changes it.
    snapshot   one look at everything a plan needs; typed, complete, and made of reading calls alone.
    action     one change of the engine (core.actions), named by engine name or reference, safe to send again.

Stories
    plan       `snapshot(scope)`, and nothing else. A driver opened with `read_only=True` has no way to write at all.
    apply      `lock`, `snapshot`, then `execute` for every action, from several threads at once; `observe` while waiting.
    crash      any prefix of the calls above may have happened. The next snapshot shows what is there: no memory of ours.

Promises every driver keeps, and the contract suite tests
    - `execute` returns when the engine has done it, and raises otherwise: Conflict (name or port taken), NotFound,
      Denied, Failed (on its merits, with output), Unavailable (no proper answer; it may or may not have happened).
    - Doing what is already done succeeds: removing what is gone, creating what exists with the same owner and spec label,
      starting what runs. Creating over a foreign object is Conflict.
    - What `execute(CreateContainer)` made, `snapshot` reads back as the same spec once defaults are taken out.
    - An error of the engine or of a registry is never read as "absent".
    - `observe` is one cheap call however many containers are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from declarative.errors import Failed
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from declarative.core.actions import Action, BuildImage, WriteRevision
    from declarative.core.state import Actual, ContainerState, Health, Revision, RunState, Scope


@record
class Progress:
    """One word from a running action: `text` is a line of output or a phase; `done`/`total` in bytes where known."""

    text: str = ""
    done: int = 0
    total: int = 0


@record
class Observed:
    """What a waiting apply sees of one container. `exit_code` counts where it is exited or dead; `stack`: whose it is, or ""."""

    state: RunState
    health: Health = ""
    exit_code: int = 0
    started: str = ""  # RFC 3339; changes when the engine's restart policy restarted it
    restarts: int = 0
    stack: str = ""


@record
class FileChange:
    """One path of a container's writable layer that differs from its image."""

    path: str
    kind: str  # "added", "changed", "deleted"


@record
class LogLine:
    """A line of a container's output. `stream` is "stdout" or "stderr"; `time` RFC 3339 where asked for."""

    container: str
    stream: str
    text: bytes
    time: str = ""


@record
class Streams:
    """A person's end of an interactive program. `stdin` is a file descriptor, None for no input.

    With `tty` everything comes as `stdout`; `size` gives the window's rows and columns and is asked again and again.
    """

    stdin: int | None
    stdout: Callable[[bytes], None]
    stderr: Callable[[bytes], None]
    tty: bool = False
    size: Callable[[], tuple[int, int]] | None = None


class BuildFailed(Failed):
    """A build step failed. `step` is its instruction, `line` its line in the Dockerfile (0: not known).

    `layer` is the image of the last good step, in which a shell can be opened; "" where the builder keeps none.
    """

    def __init__(
        self,
        subject: str,
        problem: str,
        remedy: str = "",
        place: str = "",
        *,
        output: str,
        step: str,
        line: int,
        layer: str,
    ) -> None:
        super().__init__(subject, problem, remedy, place, output=output)
        self.step = step
        self.line = line
        self.layer = layer


class Lease(Protocol):
    """A stack's lock while it is held. Leaving the `with` block gives it back."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def check(self) -> None:
        """Raise LockHeld where somebody took the lock away from us: stop before the next action."""
        ...


class Driver(Protocol):
    """An engine, seen by the tool."""

    def snapshot(self, scope: Scope) -> Actual:
        """Look at everything in `scope` and everything its stack owns. Reads only."""
        ...

    def execute(self, action: Action, progress: Callable[[Progress], None]) -> None:
        """Do one action, to its end. Called from several threads at once."""
        ...

    def prepare(self, action: WriteRevision) -> None:
        """Do beforehand what takes long of an action that will be executed in a moment, where the engine can do so unseen."""
        ...

    def give_up(self, action: WriteRevision) -> None:
        """Remove what was prepared for an action that will not be executed after all."""
        ...

    def observe(self, stack: str, names: Sequence[str]) -> Mapping[str, Observed]:
        """See how these containers of `stack` are right now. A name that is missing in the answer is gone."""
        ...

    def lock(self, stack: str, *, timeout: float, holder: Mapping[str, str]) -> Lease:
        """Take the stack's lock within `timeout` seconds, or raise LockHeld naming who holds it.

        `holder` says who we are: host, pid, boot (boot id), pidns, start (process start time), user, command, nonce. A
        lock whose holder is certainly dead (same boot and pid namespace, no such process) is taken over at once; one of
        another machine when it has not been renewed for 60 s of our own clock. Taking the lock sweeps away what a killed
        apply left half made (`Actual.leftovers`); nothing else of the engine changes.
        """
        ...

    def changes(self, container: str) -> tuple[FileChange, ...]:
        """List what differs in the container's writable layer from its image. Reads only."""
        ...

    def logs(
        self, containers: Sequence[str], *, follow: bool, tail: int | None, since: str, timestamps: bool
    ) -> Iterator[LogLine]:
        """Give the output of containers, merged; with `follow` until they end."""
        ...

    def revisions(self, stack: str) -> tuple[Revision, ...]:
        """List the history of a stack, oldest first."""
        ...

    def revision_files(self, stack: str, number: int) -> Mapping[str, str]:
        """Read the rendered manifests of one revision: name → text."""
        ...

    def stacks(self) -> Iterable[str]:
        """Name every stack that owns something in this engine."""
        ...

    def inspect(self, container: str) -> ContainerState:
        """See one container whole, whoever owns it; NotFound where there is none."""
        ...

    def last_output(self, container: str, lines: int) -> str:
        """Give the last lines a container printed, for an error message; "" where the engine keeps no logs."""
        ...

    def exec(
        self,
        container: str,
        command: Sequence[str],
        streams: Streams,
        *,
        user: str = "",
        workdir: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in a running container and wait for its end; its exit code."""
        ...

    def run(self, image: str, command: Sequence[str], streams: Streams) -> int:
        """Run a command in a new container of an image, remove the container, and give the exit code."""
        ...

    def debug_image(self, action: BuildImage, failure: BuildFailed, progress: Callable[[Progress], None]) -> str:
        """Give the id of an image of the state just before the step that failed, to `run` a shell in; "" where none."""
        ...

    def close(self) -> None:
        """Let go of connections. Calls that other threads are in end as Unavailable; builds under way are called off."""
        ...
