"""What each Dockerfile instruction says, one type each.

The rule that keeps it simple: words as they were written. Variables are expanded when a step runs, since only then their values
are known; nothing here is expanded, joined to a directory, or looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from declarative.errors import Span
    from declarative.oci.dockerfile.heredoc import Heredoc


@record
class Pair:
    """One name and value, quotes kept. `value` is None for an ARG without default; `old`: written without "="."""

    name: str
    value: str | None
    old: bool = False


@record
class Command:
    """A command line: one string for the shell (`shell`), or the words to execute."""

    words: tuple[str, ...]
    shell: bool
    heredocs: tuple[Heredoc, ...] = ()


@record
class Mount:
    """One `RUN --mount`: its kind and its other options in the order written, "" for one without value."""

    kind: str
    options: tuple[tuple[str, str], ...] = ()


@record
class From:
    """The start of a stage: `name` in lower case, "" where it has none."""

    span: Span
    base: str
    name: str = ""
    platform: str = ""


@record
class Run:
    """`network` and `security` are "" where the build's default counts."""

    span: Span
    command: Command
    mounts: tuple[Mount, ...] = ()
    network: str = ""
    security: str = ""


@record
class Copy:
    """COPY, or ADD (`add`). Sources are paths (for ADD also URLs), then the here-documents, each with its name.

    `unpack` is None where the kind of the source decides.
    """

    span: Span
    add: bool
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    origin: str = ""
    chown: str = ""
    chmod: str = ""
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    link: bool = False
    parents: bool = False
    keep_git_dir: bool = False
    unpack: bool | None = None


@record
class Cmd:
    """The default command; no words clear that of the base."""

    span: Span
    command: Command


@record
class Entrypoint:
    """The entrypoint; no words clear that of the base."""

    span: Span
    command: Command


@record
class Env:
    """Variables of the image, in the order written."""

    span: Span
    pairs: tuple[Pair, ...]


@record
class Arg:
    """Variables of the build, in the order written."""

    span: Span
    pairs: tuple[Pair, ...]


@record
class Label:
    """Labels, in the order written. `literal`: of the command line, with neither quotes nor variables in them."""

    span: Span
    pairs: tuple[Pair, ...]
    literal: bool = False


@record
class Expose:
    """Ports, as `80`, `80/udp`, `8000-8010`, or with variables."""

    span: Span
    ports: tuple[str, ...]


@record
class Volume:
    """Paths that hold a volume."""

    span: Span
    paths: tuple[str, ...]


@record
class User:
    """`name[:group]`."""

    span: Span
    name: str


@record
class Workdir:
    """A directory; relative to the one before it."""

    span: Span
    path: str


@record
class Shell:
    """The words that run a shell-form command line."""

    span: Span
    words: tuple[str, ...]


@record
class StopSignal:
    """A signal's name or number."""

    span: Span
    signal: str


@record
class Healthcheck:
    """A health check; None turns that of the base off. Durations in nanoseconds; 0 is the engine's default."""

    span: Span
    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@record
class OnBuild:
    """An instruction for builds on top of this image, as text."""

    span: Span
    text: str


@record
class Maintainer:
    """The author (deprecated, still read)."""

    span: Span
    name: str


Step = (
    Run | Copy | Cmd | Entrypoint | Env | Arg | Label | Expose | Volume | User | Workdir | Shell
    | StopSignal | Healthcheck | OnBuild | Maintainer
)  # fmt: skip
