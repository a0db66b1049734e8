"""The verbs of an engine, one small frozen type each. A driver's `execute` matches them exhaustively.

Everything is named by engine name or reference, never by id, so that a saved plan can be read and applied later.
Each is one change of the engine and safe to send again: a driver treats "already so" as done. The steps of a plan are
made of these; a replacement is a sequence of them that `apply` walks through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.core.resources import (
    ArchiveSource,
    Attachment,
    BuildSource,
    ContainerSpec,
    NetworkSpec,
    Resources,
    RootfsSource,
    VolumeSpec,
)
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.state import Canonical, Owner


@record
class BuildImage:
    """Build and tag. The driver adds to the labels what `bases` resolve to, so that the next plan can compare.

    `made`: those of the bases that are known by what they are made of (`build_label`); the others are by their ids.
    """

    source: BuildSource
    references: tuple[str, ...]
    owner: Owner
    made: tuple[str, ...] = ()


@record
class PullImage:
    """Pull a reference from its registry."""

    reference: str
    platform: str = ""


@record
class ImportImage:
    """Make an image of a root file system archive."""

    source: RootfsSource
    references: tuple[str, ...]
    owner: Owner


@record
class LoadImage:
    """Load an image archive and tag the image it holds. A loaded image carries no label of ours: it is as it was."""

    source: ArchiveSource
    references: tuple[str, ...]
    owner: Owner


@record
class TagImage:
    """Let `reference` point to the image that `source` (an id, or a reference) names now."""

    source: str
    reference: str


@record
class UntagImage:
    """Remove a reference; the image goes with its last one, unless a container uses it."""

    reference: str


@record
class PushImage:
    """Push what a local reference points to, content and tag, through the engine."""

    reference: str


@record
class RetagRemote:
    """In the registry, let `repository:tag` point to the manifest that `repository:source` has now."""

    repository: str
    source: str
    tag: str


@record
class UntagRemote:
    """In the registry, remove a tag, leaving what else points to its manifest."""

    repository: str
    tag: str


@record
class CreateNetwork:
    """Create a network."""

    name: str
    spec: NetworkSpec
    owner: Owner
    applied: Canonical


@record
class RemoveNetwork:
    """Remove a network; containers still on it are detached first."""

    name: str


@record
class CreateVolume:
    """Create a volume."""

    name: str
    spec: VolumeSpec
    owner: Owner
    applied: Canonical


@record
class RemoveVolume:
    """Remove a volume with its data."""

    name: str


@record
class CreateContainer:
    """Create a container, put its files in, do not start it.

    `spec` is keyed by engine names (networks, volumes, `container:NAME`) and `spec.image.reference` is what to run.
    Anonymous volumes are taken over, by target, from the container named `inherit`, so that a replacement keeps data.
    """

    name: str
    spec: ContainerSpec
    owner: Owner
    applied: Canonical
    inherit: str = ""


@record
class StartContainer:
    """Start a container; a paused one is unpaused."""

    name: str


@record
class StopContainer:
    """Stop with the container's own signal and grace; done where it does not run, or is not there."""

    name: str


@record
class RestartContainer:
    """Stop and start again."""

    name: str


@record
class RemoveContainer:
    """Remove a container, running or not; with `volumes` its anonymous volumes too, never a named one. What runs is killed."""

    name: str
    volumes: bool = False


@record
class RenameContainer:
    """Rename a container."""

    name: str
    to: str


@record
class UpdateContainer:
    """Change limits and restart policy of a living container. Only what is not None is sent."""

    name: str
    resources: Resources = field(default_factory=Resources)
    restart: str | None = None


@record
class ConnectNetwork:
    """Attach a container to a network; where it is on it already with other settings, reattach it."""

    container: str
    network: str
    attachment: Attachment


@record
class DisconnectNetwork:
    """Detach a container from a network."""

    container: str
    network: str


@record
class WriteRevision:
    """Keep one entry of the stack's history: a tiny image that holds `files` (name → text) and these labels."""

    stack: str
    number: int
    files: Mapping[str, str]
    labels: Mapping[str, str]


Action = (
    BuildImage
    | PullImage
    | ImportImage
    | LoadImage
    | TagImage
    | UntagImage
    | PushImage
    | RetagRemote
    | UntagRemote
    | CreateNetwork
    | RemoveNetwork
    | CreateVolume
    | RemoveVolume
    | CreateContainer
    | StartContainer
    | StopContainer
    | RestartContainer
    | RemoveContainer
    | RenameContainer
    | UpdateContainer
    | ConnectNetwork
    | DisconnectNetwork
    | WriteRevision
)
