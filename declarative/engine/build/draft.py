"""What instructions do to an image's configuration, and how its history tells of them.

The rule that keeps it simple: pure. A step and a scope give a new draft, a new scope and one line of history; the words of that
line follow dockerd's classic builder, which `docker history` users know.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING

from declarative.engine.build import commands as c
from declarative.errors import Invalid
from declarative.oci.config import HealthCheck, RunDefaults
from declarative.oci.units import format_duration
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from declarative.engine.build.scope import Scope
    from declarative.errors import Span

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?(?:/(?P<protocol>[A-Za-z]+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")
_SIGNAL = re.compile(r"(SIG)?(RT(MIN|MAX)([+-][0-9]+)?|[A-Z]+[0-9]?)|[0-9]+")


@record
class Draft:
    """The configuration on its way. `cmd_set`: this stage has a CMD of its own, which ENTRYPOINT leaves alone."""

    run: RunDefaults = field(default_factory=RunDefaults)
    author: str = ""
    cmd_set: bool = False

    @property
    def shell(self) -> tuple[str, ...]:
        """What runs a shell-form command line."""
        return self.run.shell or DEFAULT_SHELL


@record
class Edit:
    """What a step made of draft and scope, and what history says of it: `ENV a=b`."""

    draft: Draft
    scope: Scope
    says: str


def start(run: RunDefaults, author: str = "") -> Draft:
    """Begin on a base image. A base without a PATH gets the usual one; its ONBUILD triggers are not inherited."""
    env = run.env if any(entry.startswith("PATH=") for entry in run.env) else (*run.env, DEFAULT_PATH)
    return Draft(run=replace(run, env=env, on_build=()), author=author)


def edit(draft: Draft, scope: Scope, step: c.Step) -> Edit:  # noqa: PLR0911, PLR0912 - one case for each instruction
    """Do a step that changes no file. RUN, COPY and ADD have no effect here, WORKDIR only on the configuration."""
    run = draft.run
    match step:
        case c.Env():
            return _env(draft, scope, step)
        case c.Arg():
            said = [  # the default and not what is given, as in Docker: only steps that use it depend on that
                pair.name if pair.value is None else f"{pair.name}={_value(scope, pair, step.span)}"
                for pair in step.pairs
            ]
            return Edit(draft=draft, scope=scope.with_args(step.pairs, step.span), says="ARG " + " ".join(said))
        case c.Label():
            pairs = _labels(scope, step)
            labels = dict(run.labels) | dict(pairs)
            return _edit(draft, scope, "LABEL " + " ".join(f"{name}={value}" for name, value in pairs), labels=labels)
        case c.Cmd():
            words = command_words(draft, step.command)
            after = replace(draft, run=replace(run, cmd=words), cmd_set=True)
            return Edit(draft=after, scope=scope, says=f"CMD {_quoted(words)}")
        case c.Entrypoint():
            words = command_words(draft, step.command)
            cmd = run.cmd if draft.cmd_set else None
            return _edit(draft, scope, f"ENTRYPOINT {_quoted(words)}", entrypoint=words, cmd=cmd)
        case c.Expose():
            ports = _ports(scope, step)
            return _edit(draft, scope, f"EXPOSE {' '.join(ports)}", exposed_ports=_union(run.exposed_ports, ports))
        case c.Volume():
            paths = _volumes(scope, step)
            return _edit(draft, scope, f"VOLUME [{' '.join(paths)}]", volumes=_union(run.volumes, paths))
        case c.User():
            user = scope.expanded(step.name, step.span)
            return _edit(draft, scope, f"USER {user}", user=user)
        case c.Workdir():
            path = working_directory(run.working_dir, scope.expanded(step.path, step.span), step.span)
            return _edit(draft, scope, f"WORKDIR {path}", working_dir=path)
        case c.Shell():
            return _edit(draft, scope, f"SHELL [{' '.join(step.words)}]", shell=step.words)
        case c.StopSignal():
            signal = _signal(scope.expanded(step.signal, step.span), step.span)
            return _edit(draft, scope, f"STOPSIGNAL {signal}", stop_signal=signal)
        case c.Healthcheck():
            check = _health_check(step)
            return _edit(draft, scope, f"HEALTHCHECK {_health_words(check)}", health_check=check)
        case c.OnBuild():
            return _edit(draft, scope, f"ONBUILD {step.text}", on_build=(*run.on_build, step.text))
        case c.Maintainer():
            return Edit(draft=replace(draft, author=step.name), scope=scope, says=f"MAINTAINER {step.name}")
        case c.Run() | c.Copy():
            return Edit(draft=draft, scope=scope, says="")


def command_words(draft: Draft, command: c.Command) -> tuple[str, ...]:
    """Give the words to execute: those of the exec form, or the shell's with the line after it."""
    return (*draft.shell, *command.words) if command.shell else command.words


def working_directory(before: str, path: str, span: Span) -> str:
    """Give the absolute directory that WORKDIR means. Invalid."""
    if not path:
        raise Invalid("", "cannot normalize nothing", "write a path after WORKDIR", str(span))
    found = posixpath.normpath(posixpath.join(before or "/", path))
    return "/" + found.lstrip("/")


def nothing_run(draft: Draft, says: str) -> str:
    """Give the history's line for a step that runs nothing."""
    return f"{' '.join(draft.shell)} #(nop)  {says}"


def command_run(words: Sequence[str], args: dict[str, str]) -> str:
    """Give the history's line for a RUN: the ARGs it may depend on, counted, then the words."""
    listed = [f"{name}={value}" for name, value in args.items()]
    return " ".join([*([f"|{len(listed)}", *listed] if listed else []), *words])


def _edit(draft: Draft, scope: Scope, says: str, **changes: object) -> Edit:
    return Edit(draft=replace(draft, run=replace(draft.run, **changes)), scope=scope, says=says)


def _env(draft: Draft, scope: Scope, step: c.Env) -> Edit:
    """Set variables; those of one instruction do not see each other (Dockerfile reference, "Environment replacement")."""
    pairs = [(scope.expanded(pair.name, step.span), _value(scope, pair, step.span)) for pair in step.pairs]
    env = list(draft.run.env)
    for name, value in pairs:
        places = [at for at, entry in enumerate(env) if entry.partition("=")[0] == name]
        if places:
            env[places[0]] = f"{name}={value}"
        else:
            env.append(f"{name}={value}")
    says = "ENV " + " ".join(f"{name}={value}" for name, value in pairs)
    return replace(_edit(draft, scope, says, env=tuple(env)), scope=scope.with_env(pairs))


def _value(scope: Scope, pair: c.Pair, span: Span) -> str:
    return scope.expanded(pair.value or "", span)


def _labels(scope: Scope, step: c.Label) -> list[tuple[str, str]]:
    if step.literal:
        return [(pair.name, pair.value or "") for pair in step.pairs]
    return [(scope.expanded(pair.name, step.span), _value(scope, pair, step.span)) for pair in step.pairs]


def _ports(scope: Scope, step: c.Expose) -> tuple[str, ...]:
    found: list[str] = []
    for written in step.ports:
        for port in scope.words(written, step.span):
            match = _PORT.fullmatch(port.rpartition(":")[2])
            protocol = (match["protocol"] or "tcp").lower() if match else ""
            first = int(match["first"]) if match else 0
            last = int(match["last"] or first) if match else 0
            if protocol not in _PROTOCOLS or not 0 < first <= last <= 65535:
                raise Invalid("", f"invalid containerPort: {port}", "write 80, 80/udp or 8000-8010", str(step.span))
            found += [f"{number}/{protocol}" for number in range(first, last + 1)]
    return tuple(dict.fromkeys(found))


def _volumes(scope: Scope, step: c.Volume) -> tuple[str, ...]:
    paths = tuple(scope.expanded(path, step.span) for path in step.paths)
    if not all(path.strip() for path in paths):
        raise Invalid("", "VOLUME specified can not be an empty string", "write a path", str(step.span))
    return paths


def _signal(text: str, span: Span) -> str:
    if not _SIGNAL.fullmatch(text.upper()):
        raise Invalid("", f"Invalid signal: {text}", "write a name such as SIGTERM, or a number", str(span))
    return text


def _health_check(step: c.Healthcheck) -> HealthCheck:
    if step.command is None:
        return HealthCheck(test=("NONE",))
    kind = "CMD-SHELL" if step.command.shell else "CMD"
    return HealthCheck(
        test=(kind, *step.command.words),
        interval=step.interval,
        timeout=step.timeout,
        start_period=step.start_period,
        start_interval=step.start_interval,
        retries=step.retries,
    )


def _health_words(check: HealthCheck) -> str:
    said = [
        f"--{name}={format_duration(value)}"
        for name, value in (
            ("interval", check.interval),
            ("timeout", check.timeout),
            ("start-period", check.start_period),
            ("start-interval", check.start_interval),
        )
        if value
    ]
    said += [f"--retries={check.retries}"] if check.retries else []
    return " ".join([*said, _quoted(check.test)])


def _quoted(words: Sequence[str]) -> str:
    """Show words as dockerd's history does: in brackets, each in quotes, blanks between."""
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def _union(before: Sequence[str], added: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({*before, *added}))
