"""Shapes of what a container's process is given: its command, its health check, its limits.

The rule that keeps it simple: the text forms mean what they mean in Compose, and become the lists and numbers of the
long forms.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from declarative.core.resources import Healthcheck
from declarative.errors import Invalid
from declarative.manifest.decode import BAD, Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape, ListOf, MapOf
from declarative.manifest.decode_scalars import Boolean, Duration, Integer, Text
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Scalar
from declarative.oci.ulimit import NAMES

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping, Node

NAME = r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"
"""The pattern of a resource's name: it becomes part of engine names and a host name."""

_ARGUMENTS = ListOf(Text(number=True, empty=True), "a list of arguments", key=None)


class _Words(Shape):
    """Text that is split into arguments by the quoting rules of a shell, without starting one (Compose: command)."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give a tuple of arguments."""
        if type(node) is not Scalar or type(node.value) is not str:
            return reading.wrong(node, self.words(), "put it in quotes")
        try:
            return tuple(shlex.split(node.value))
        except ValueError as error:
            return reading.complain(node, f"cannot be split into arguments: {error}".lower(), "write a list instead")

    def schema(self) -> Schema:
        """Text."""
        return {"type": "string"}

    def words(self) -> str:
        """Say what it is."""
        return "a command line"


COMMAND = ByShape("a command line, or a list of arguments", scalar=_Words(), sequence=_ARGUMENTS)


class _Test(ByShape):
    """The test of a health check: text for a shell, or a list that begins with NONE, CMD or CMD-SHELL."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the list form."""
        value = super().decode(node, reading)
        if isinstance(value, str):
            return ("CMD-SHELL", value)
        if value is BAD:
            return BAD
        if not value or value[0] not in _TESTS:
            known = did_you_mean(value[0], _TESTS) if value else ""
            remedy = known or "begin with CMD (run it), CMD-SHELL (run it in a shell) or NONE"
            return reading.complain(node, "a test in list form begins with CMD, CMD-SHELL or NONE", remedy)
        if (value[0] == "NONE") != (len(value) == 1) or (value[0] == "CMD-SHELL" and len(value) != 2):
            return reading.complain(node, f"{value[0]} has the wrong number of words after it", _TESTS[value[0]])
        return value

    def schema(self) -> Schema:
        """Text, or a list that begins with one of three words."""
        listed = {"type": "array", "minItems": 1, "prefixItems": [{"enum": list(_TESTS)}]}
        listed["items"] = _ARGUMENTS.item.schema()
        return {"anyOf": [{"type": "string", "minLength": 1}, listed]}


_TESTS = {
    "NONE": "write [NONE] alone",
    "CMD": "write [CMD, program, argument, …]",
    "CMD-SHELL": "write [CMD-SHELL, one text]",
}


def _healthcheck(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    del node, reading
    # As in Compose, `disable` wins over what stands beside it: the stack's defaults may.
    return Healthcheck(test=("NONE",)) if values.pop("disable", False) else Healthcheck(**values)


HEALTHCHECK = Record(
    "a health check",
    (
        Field(
            name="test",
            type=_Test("text for a shell, or a list", scalar=Text("text for a shell"), sequence=_ARGUMENTS),
            doc="The probe: healthy when it exits with 0.",
            example=["CMD", "wget", "-q", "-O-", "http://localhost/"],
            default="the image's",
        ),
        Field(name="interval", type=Duration(), doc="Pause between two probes.", example="10s", default="30s"),
        Field(name="timeout", type=Duration(), doc="How long one probe may take.", example="5s", default="30s"),
        Field(
            name="retries",
            type=Integer(largest=2**31 - 1),
            doc="Failures in a row that make the container unhealthy.",
            example=3,
            default="3",
        ),
        Field(
            name="start_period",
            type=Duration(),
            doc="Time after the start in which failures do not count.",
            example="20s",
            default="0s",
        ),
        Field(
            name="start_interval",
            type=Duration(),
            doc="Pause between probes within the start period.",
            example="1s",
            default="5s",
        ),
        Field(name="disable", type=Boolean(), doc="Switch off the image's check.", example=False, default="false"),
    ),
    _healthcheck,
)

# getrlimit(2), under the names that the engine takes.
_LIMITS = tuple(sorted(NAMES))


class _Ulimits(MapOf):
    """Limits by name; a wrong name gets a suggestion."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give name → (soft, hard)."""
        values = super().decode(node, reading)
        if values is BAD:
            return BAD
        for name in values:
            if name not in _LIMITS:
                reading.complain(node.keys[name], "unknown limit", did_you_mean(name, _LIMITS))  # type: ignore[union-attr]
        return values

    def schema(self) -> Schema:
        """Give an object with known keys."""
        return {"type": "object", "propertyNames": {"enum": list(_LIMITS)}, "additionalProperties": self.item.schema()}


class _OneLimit(Integer):
    """One number for both limits."""

    __slots__ = ()

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give (soft, hard)."""
        value = super().decode(node, reading)
        return value if value is BAD else (value, value)


def _limit_pair(values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
    soft, hard = values["soft"], values["hard"]
    if hard != -1 and (soft == -1 or soft > hard):
        return reading.complain(node, "the soft limit is above the hard one", "swap them, or raise the hard one")
    return (soft, hard)


_LIMIT = Integer("a number, -1 for no limit", smallest=-1)
ULIMITS = _Ulimits(
    ByShape(
        "a number, or {soft, hard}",
        scalar=_OneLimit("a number, -1 for no limit", smallest=-1),
        mapping=Record(
            "{soft, hard}",
            (
                Field(name="soft", type=_LIMIT, doc="What holds.", example=1024, required=True),
                Field(name="hard", type=_LIMIT, doc="What it may be raised to.", example=4096, required=True),
            ),
            _limit_pair,
        ),
    ),
    "limits by name",
)

# capabilities(7), as of Linux 6.1; ALL is the engine's word for every one of them.
_CAPABILITIES = tuple(
    # One name a line would fill a screen and say no more.
    """
    ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
    FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE
    NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE
    SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM
    """.split()  # noqa: SIM905
)


def _capability(text: str) -> str:
    name = text.upper().removeprefix("CAP_")
    if name not in _CAPABILITIES:
        raise Invalid(f"`{text[:40]}`", "is not a capability", did_you_mean(name, _CAPABILITIES))
    return name


CAPABILITIES = ListOf(Text("a capability", clean=_capability), "a list of capabilities", sort=True)


def _signal(text: str) -> str:
    if text.isdigit():
        return text
    return "SIG" + text.upper().removeprefix("SIG")


SIGNAL = Text(
    "a signal",
    pattern=r"(?:[sS][iI][gG])?[A-Za-z][A-Za-z0-9+-]*|[1-9][0-9]?",
    says="write a name such as SIGTERM",
    number=True,
    clean=_signal,
)


def _restart(text: str) -> str:
    if text in _RESTARTS:
        return text
    head, _, count = text.partition(":")
    if head == "on-failure" and count.isascii() and count.isdigit() and len(count) < 10:
        # Engines keep a number, and 0 is without a limit.
        return f"{head}:{int(count)}" if int(count) else head
    hint = did_you_mean(head, _RESTARTS) or f"write one of {', '.join(_RESTARTS)}, on-failure:3"
    raise Invalid(f"`{text[:40]}`", "is not a restart policy", hint)


_RESTARTS = ("no", "always", "unless-stopped", "on-failure")
RESTART = Text(
    '"no", always, unless-stopped or on-failure:N',
    says='write "no", always, unless-stopped or on-failure:3',
    clean=_restart,
)


def _cpus(text: str) -> int:
    from decimal import Decimal

    try:
        nano = Decimal(text) * 1_000_000_000
        known = 1 <= nano < 2**63
    except ArithmeticError:  # no number, none that can be compared (nan), or one beyond all (1e999999)
        known = False
    if not known:
        raise Invalid(f"`{text[:40]}`", "is not a number of CPUs", "write a number such as 0.5")
    return int(nano)


CPUS = Text("a number of CPUs", number=True, clean=_cpus)


def _namespace(*plain: str) -> Text:
    """Give the shape of network_mode, pid, ipc: a word, or the container that shares its own (Compose says service:NAME)."""

    def clean(text: str) -> str:
        head, mark, name = text.partition(":")
        if not mark and text in plain:
            return text
        if mark and head in {"container", "service"} and name:
            return f"container:{name}"
        near = did_you_mean(text, (*plain, "container:NAME"))
        raise Invalid(f"`{text[:60]}`", "is not a mode", near or f"write {', '.join(plain)} or container:NAME")

    return Text(" | ".join((*plain, "container:NAME")), clean=clean)


NETWORK_MODE = _namespace("bridge", "host", "none")
PID = _namespace("host")
IPC = _namespace("none", "host", "private", "shareable")
