"""The blocks of a container's spec: image, dependencies, logging, limits, rollout, drift, security options.

The rule that keeps it simple: a block is one shape with a name; what goes together across blocks is checked in `container`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.core.resources import ImageRef, Logging, Resources, Update
from declarative.manifest.decode import BAD, Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape, ListOf, MapOf, Pairs
from declarative.manifest.decode_process import CPUS, NAME
from declarative.manifest.decode_scalars import Duration, Enum, Integer, Size, Text
from declarative.manifest.decode_secrets import PlainValue, absolute, read_bytes
from declarative.manifest.fields.image import image_reference
from declarative.manifest.fields.table import RESOURCE_NAME
from declarative.manifest.yaml_nodes import Scalar

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping, Node

# ---- the image ----------------------------------------------------------------------------------------------------


def _image_ref(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    if ("image" in values) == ("scheme" in values):
        return reading.complain(
            node, "names neither an image nor a scheme, or both", "write {image: NAME} or {scheme: NAME}"
        )
    if "image" in values and "track" in values:
        return reading.complain(node.keys["track"], "only a scheme has tracks", "name a scheme, or remove it")
    if "scheme" in values:
        values.setdefault("track", "latest")
    return ImageRef(**values)


IMAGE = ByShape(
    "a reference, {image: NAME} or {scheme: NAME, track: TAG}",
    scalar=Text("an image reference", clean=lambda text: ImageRef(reference=image_reference(text))),
    mapping=Record(
        "{image: NAME} or {scheme: NAME, track: TAG}",
        (
            Field(name="image", type=RESOURCE_NAME, doc="An Image of this stack.", example="app"),
            Field(name="scheme", type=RESOURCE_NAME, doc="A TagScheme of this stack.", example="app"),
            Field(
                name="track",
                type=Text("a tag", pattern=r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", number=True),
                doc="Which of the scheme's tags to follow.",
                example="1",
                default="latest",
            ),
        ),
        _image_ref,
    ),
)

# ---- what stands in for whole blocks --------------------------------------------------------------------------------

_CONDITION = Enum(
    "started",
    "healthy",
    "completed",
    instead={
        "service_started": "started",
        "service_healthy": "healthy",
        "service_completed_successfully": "completed",
    },
)


OPEN = ""
"""A condition that nobody stated; `resolve` makes it "started", or "completed" where the name is a Job's."""


class _DependencyNames(ListOf):
    """The list form: names, each with the condition that fits its kind."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give name → condition, still open."""
        names = super().decode(node, reading)
        return BAD if names is BAD else dict.fromkeys(names, OPEN)


DEPENDS_ON = ByShape(
    "a list of names, or a map of conditions",
    sequence=_DependencyNames(Text("a name", pattern=NAME), "a list of names"),
    mapping=MapOf(
        Record(
            "{condition: …}",
            (
                Field(
                    name="condition",
                    type=_CONDITION,
                    doc="What to wait for.",
                    example="healthy",
                    default="started; completed for a Job",
                ),
            ),
            lambda values, _node, _reading: values.get("condition", OPEN),
        ),
        "a map of conditions",
        keys=NAME,
        says="name a Container or a Job",
        null=lambda: OPEN,
    ),
)

LOGGING = Record(
    "a log driver",
    (
        Field(name="driver", type=Text("a log driver"), doc="Log driver.", example="json-file", required=True),
        Field(
            name="options",
            type=Pairs(PlainValue(), "options by name"),
            doc="The driver's options.",
            example={"max-size": "10m"},
        ),
    ),
    lambda values, _node, _reading: Logging(**values),
)


def _resources(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    memory, swap, soft = values.get("memory"), values.get("memory_swap"), values.get("memory_reservation")
    if swap is not None and memory is None:
        return reading.complain(
            node.keys["memory_swap"], "needs `memory` beside it", "add memory: it limits both together"
        )
    if swap is not None and swap != -1 and swap < memory:
        return reading.complain(node.keys["memory_swap"], "is less than memory", "it counts memory and swap together")
    if memory is not None and soft is not None and soft > memory:
        return reading.complain(node.keys["memory_reservation"], "is more than memory", "lower it")
    return Resources(**values)


RESOURCES = Record(
    "limits",
    (
        Field(name="memory", type=Size(), doc="Most memory.", example="512m", default="unlimited"),
        Field(name="memory_reservation", type=Size(), doc="Memory kept for it when memory is short.", example="256m"),
        Field(
            name="memory_swap",
            type=Size(unlimited=True),
            doc="Most memory and swap together; -1 for any amount of swap.",
            example="-1",
            default="twice the memory",
        ),
        Field(name="cpus", type=CPUS, doc="Most CPUs, in fractions.", example=0.5, default="unlimited"),
        Field(
            name="cpu_shares", type=Integer(smallest=2, largest=262_144), doc="Weight among containers.", example=512
        ),
        Field(
            name="cpuset",
            type=Text("a set of CPUs", pattern=r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*", number=True),
            doc="CPUs it may run on.",
            example="0-1",
        ),
        Field(
            name="pids",
            type=Integer(smallest=-1),
            doc="Most processes and threads; -1 for any number.",
            example=200,
            default="unlimited",
        ),
    ),
    _resources,
    hints={
        "limits": "write the limits directly, as in memory: 512m",
        "mem_limit": "did you mean `memory`?",
        "pids_limit": "did you mean `pids`?",
    },
)

UPDATE = Record(
    "how a rollout goes",
    (
        Field(
            name="order",
            type=Enum("stop-first", "start-first"),
            doc="Whether the old replica stops before the new one starts.",
            example="start-first",
            default="stop-first",
        ),
        Field(
            name="parallelism",
            type=Integer(largest=1_000_000),
            doc="Replicas changed at once; 0 for all.",
            example=1,
            default="1",
        ),
        Field(name="delay", type=Duration(), doc="Pause between two batches.", example="10s", default="0s"),
        Field(
            name="monitor",
            type=Duration(),
            doc="How long a replica must stay well to count as ready. By default 1s where it takes the place of another one.",
            example="5s",
            default="100ms",
        ),
        Field(name="deadline", type=Duration(), doc="How long it may take to get ready.", example="2m", default="5m"),
    ),
    lambda values, _node, _reading: Update(**values),
)

DRIFT = Record(
    "what drift means here",
    (
        Field(
            name="ignore",
            type=ListOf(
                Text("a path", pattern=r"spec(?:\.[^\s]+)?|state(?:\.[^\s]+)?|filesystem|/[^\s]*"),
                "a list of paths",
            ),
            doc="Paths whose drift is neither reported nor mended: fields, or files in the container (globs, whole folders).",
            example=["spec.resources.memory", "/var/cache"],
        ),
    ),
)


class _SecurityOption(Shape):
    """An option as the engine takes it; a seccomp profile is read from its file, as the docker command does."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give `NAME=VALUE`, or `no-new-privileges`."""
        if type(node) is not Scalar or type(node.value) is not str or not node.value:
            return reading.wrong(node, "a security option")
        name, value = _split_option(node.value)
        if name == "no-new-privileges" and value in {"", "true", "false"}:
            return name if value != "false" else "no-new-privileges=false"
        if name == "seccomp" and value not in {"unconfined", "builtin", ""}:
            return self._profile(value, node, reading)
        if name == "systempaths":
            text = "`systempaths` is an option of the docker command, and engines refuse it"
            return reading.complain(node, text, "remove it, or write privileged: true, which leaves no path masked")
        if name not in {"seccomp", "apparmor", "label"} or not value:
            return reading.complain(
                node,
                f"unknown security option `{node.value[:40]}`",
                "write no-new-privileges, seccomp=FILE, apparmor=PROFILE or label=…",
            )
        return f"{name}={value}"

    @staticmethod
    def _profile(value: str, node: Node, reading: Reading) -> Any:
        content = read_bytes(absolute(value, node, reading), node, reading)
        if not isinstance(content, bytes):
            return BAD
        if reading.outside.names_only:
            return "seccomp=" + value
        try:
            return "seccomp=" + json.dumps(json.loads(content), separators=(",", ":"))
        except ValueError as error:
            return reading.complain(node, f"{value} is not JSON: {error}", "give a seccomp profile in JSON")

    def schema(self) -> Schema:
        """Text."""
        return {"type": "string", "minLength": 1}

    def words(self) -> str:
        """Say what it is."""
        return "a security option"


def _split_option(text: str) -> tuple[str, str]:
    """Both `=` and `:` separate, as in Compose; the first one counts."""
    marks = [index for index in (text.find("="), text.find(":")) if index >= 0]
    return (text[: min(marks)], text[min(marks) + 1 :]) if marks else (text, "")


SECURITY = ListOf(_SecurityOption(), "a list of security options", sort=True)
