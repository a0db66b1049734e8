"""The plan: an acyclic set of steps, each one action on one resource for one stated cause.

A plan is made by `core.planner.plan`, shown by `core.plan_text`, executed by `apply`. It decides everything that can be
decided without asking the engine again; the executor only walks it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

from declarative.core.state import SUFFIX_NEW, SUFFIX_OLD
from declarative.errors import Conflict
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.actions import Action, ConnectNetwork, RenameContainer, StartContainer
    from declarative.core.resources import Kind, Update

Verb = Literal[
    "build",
    "pull",
    "load",
    "import",
    "tag",
    "untag",
    "push",
    "create",
    "update",
    "replace",
    "start",
    "stop",
    "remove",
    "run",
    "wait",
]
Origin = Literal["change", "drift", "both"]


@record
class Change:
    """One difference. `before` and `after` are JSON values fit to be shown (secrets are `***`); None: not there."""

    path: str
    before: Any = None
    after: Any = None
    origin: Origin = "change"
    source: str = ""  # file:line, where the manifest says something about it


@record
class Rollout:
    """How a `replace` step goes: the old container runs as `name`; `create` makes the new one beside it as NAME.new.

    The new one takes the name over; the old one is kept as NAME.old until the new one is ready, and else comes back.
    """

    name: str
    create: Action
    update: Update

    @property
    def new(self) -> str:
        """The new container, until it has the name."""
        return self.name + SUFFIX_NEW

    @property
    def old(self) -> str:
        """The old container, once it has lost the name."""
        return self.name + SUFFIX_OLD

    def refused(self, subject: str, name: str, place: str = "") -> Conflict:
        """Give the refusal where one of these two names is somebody else's container: it would be taken for a leftover."""
        problem = f"the replacement needs the name {name!r}, which a container has that is not ours"
        return Conflict(subject, problem, "rename or remove that container", place)


@record
class Await:
    """A condition on one container, for `wait` and `run` steps. Durations in nanoseconds, 0 for no deadline."""

    name: str
    condition: Literal["started", "healthy", "completed"]
    monitor: int = 0
    deadline: int = 0


@record
class Undo:
    """How a container gets back what it let go of for others, once all steps have ended and its own ones are not done.

    `own` and `takers` are ids of steps; of the latter each with what it takes: "port 80/tcp". Who is done and runs keeps it.
    """

    action: StartContainer | ConnectNetwork | RenameContainer
    own: tuple[int, ...]
    takers: Mapping[int, str]


@record
class Step:
    """One action on one resource. `actions` are executed in their order; then `rollout` or `awaits`, if there are any.

    `back`: what puts back what was there before, where one of `actions` fails.
    `undo`: where the step only makes room for others, what takes it back (see `apply.way_back`).
    `touches` are the objects ("Container/web-1", "Tag/app:1") whose state the step was planned on: what a saved plan
    compares before it is applied.
    """

    id: int
    verb: Verb
    kind: Kind
    name: str
    cause: str
    origin: Origin = "change"
    changes: tuple[Change, ...] = ()
    needs: tuple[int, ...] = ()
    source: str = ""
    actions: tuple[Action, ...] = ()
    back: tuple[Action, ...] = ()
    rollout: Rollout | None = None
    awaits: tuple[Await, ...] = ()
    touches: tuple[str, ...] = ()
    undo: tuple[Undo, ...] = ()

    @property
    def label(self) -> str:
        """Name the step's object, as "Container/web-1"."""
        return f"{self.kind}/{self.name}"


@record
class Finding:
    """Drift that no step mends: something to know, such as a container that was restarted by hand.

    It is told until the next revision, or until a whole apply takes note of it in the last one.
    """

    kind: Kind
    name: str
    cause: str
    changes: tuple[Change, ...] = ()
    source: str = ""


@record
class Plan:
    """Steps in an order in which every step comes after all it needs. `deferred`: why a second plan must follow.

    `notes` are for the person: what was left alone and why. `objects`: what the stack holds once the plan is done (see
    Revision.objects; a Tag's image id is "" where it is yet to be made); what targets leave undone is there as the last
    revision had it. `updates`: what is changed in place, container → path → value, kept with the next revision.
    """

    stack: str
    engine: str = ""
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    deferred: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    objects: Mapping[str, str] = field(default_factory=dict)
    updates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def in_sync(self) -> bool:
        """Whether there is nothing to do."""
        return not self.steps

    @property
    def drifted(self) -> bool:
        """Whether something differs from what was last applied."""
        return bool(self.findings) or any(step.origin != "change" for step in self.steps)

    def summary(self) -> dict[str, int]:
        """Count steps by verb, in the order of their first appearance."""
        return dict(Counter(step.verb for step in self.steps))


@record
class Policy:
    """What the person allows and asks. `targets`: "Kind/name"; empty for all."""

    targets: frozenset[str] = frozenset()
    unknown_ok: bool = False  # a target that nothing is known of is no mistake: it may have been removed since
    allow_deletes: int | None = None
    delete_volumes: bool = False
    allow_retag: bool = False
    adopt: frozenset[str] = frozenset()  # "Container/web": take over the foreign container of that name
    prune: bool = True
    destroy: bool = False  # the manifest is empty on purpose: no delete budget
    looks: bool = False  # nothing is executed: what somebody else is in the way of is told, and stops nothing
