"""Which variables a Dockerfile sees where: header ARGs, a stage's ARGs and ENV, and those that need no ARG.

The rule that keeps it simple: a scope is a value. Each ARG or ENV gives a new one; nothing else changes it. What a name means:
ENV first, then ARG (a build argument of the client, else its default, else the header's ARG of that name, else what the stage
below said).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid
from declarative.oci.dockerfile.expand import Style, expand
from declarative.record import field, record, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from declarative.engine.build.commands import Pair
    from declarative.errors import Span
    from declarative.oci.platform import Platform

PROXIES = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (lower, lower.upper())
)
"""Build arguments that every RUN sees without an ARG; they are kept out of history and of cache keys."""

_FREE = frozenset({"SOURCE_DATE_EPOCH", "BUILDKIT_SYNTAX", "BUILDKIT_INLINE_CACHE"})
"""Build arguments for a builder itself, which no ARG has to consume."""


@record
class Scope:
    """What is known at one place of a Dockerfile.

    `given`: the client's build arguments. `header`: ARGs before the first FROM, with the platform's. `args`: those that the
    stage, or one that it is built on, declared, "" kept and None for one without a value. `env`: the image's. `escape`: the
    file's escape character.
    """

    given: Mapping[str, str] = field(default_factory=dict, hash=False)
    header: Mapping[str, str] = field(default_factory=dict, hash=False)
    args: Mapping[str, str | None] = field(default_factory=dict, hash=False)
    env: Mapping[str, str] = field(default_factory=dict, hash=False)
    escape: str = "\\"

    def stage(self, env: Iterable[str]) -> Scope:
        """Give the scope at the start of a stage on an image with this environment; ARGs are kept, as in BuildKit.

        So it is the whole file's scope (without any) of a stage on an image, and the last one of a stage on a stage.
        """
        return replace(self, env=dict(entry.split("=", 1) for entry in env))

    def with_header(self, pairs: Iterable[Pair], span: Span) -> Scope:
        """Take an ARG before the first FROM in."""
        header = dict(self.header)
        for pair in pairs:
            value = self.given.get(pair.name)
            if value is None and pair.value is not None:
                value = _expanded(pair.value, header, self.escape, span)
            if value is not None:
                header[pair.name] = value
        return replace(self, header=header)

    def in_header(self, word: str, span: Span) -> str:
        """Expand a word of a FROM: only the header counts."""
        return _expanded(word, self.header, self.escape, span)

    def with_args(self, pairs: Iterable[Pair], span: Span) -> Scope:
        """Take an ARG of the stage in."""
        args = dict(self.args)
        known = self
        for pair in pairs:
            value = self.given.get(pair.name)
            if value is None and pair.value is not None:
                value = known.expanded(pair.value, span)
            if value is None:
                value = self.header.get(pair.name, args.get(pair.name))
            args[pair.name] = value
            known = replace(known, args=args)
        return replace(self, args=args)

    def with_env(self, pairs: Iterable[tuple[str, str]]) -> Scope:
        """Take variables of the image in, their values expanded already."""
        return replace(self, env=dict(self.env) | dict(pairs))

    @property
    def variables(self) -> dict[str, str]:
        """What words are expanded with."""
        return {name: value for name, value in self.args.items() if value is not None} | dict(self.env)

    @property
    def run_args(self) -> dict[str, str]:
        """The ARGs that a RUN of this place depends on, in the order of their names."""
        declared = {name: value for name, value in self.args.items() if value is not None and name not in self.env}
        return dict(sorted(declared.items()))

    @property
    def run_env(self) -> tuple[str, ...]:
        """The whole environment of a RUN, as NAME=VALUE."""
        free = {name: value for name, value in self.given.items() if name in PROXIES}
        merged = free | self.run_args
        return tuple(f"{name}={value}" for name, value in (dict(self.env) | _without(merged, self.env)).items())

    def expanded(self, word: str, span: Span) -> str:
        """Expand one word."""
        return _expanded(word, self.variables, self.escape, span)

    def words(self, word: str, span: Span) -> tuple[str, ...]:
        """Expand a word that may become several."""
        try:
            return expand(word, self.variables, Style(escape=self.escape)).words
        except Invalid as error:
            raise _placed(error, span) from None

    def body(self, text: str, span: Span) -> str:
        """Expand the body of a here-document: quotes mean nothing in it."""
        try:
            return expand(text, self.variables, Style(escape=self.escape, quotes=False)).text
        except Invalid as error:
            raise _placed(error, span) from None


def platform_arguments(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """Give the ARGs that exist in every header: where it is built, and for what. `stage`: the target's name."""
    found = {"TARGETSTAGE": stage}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}OSVERSION"] = platform.os_version
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found


def unused(given: Iterable[str], declared: Iterable[str]) -> tuple[str, ...]:
    """Give the build arguments that no ARG has asked for, in order: a misspelling, most likely."""
    return tuple(sorted(set(given) - set(declared) - PROXIES - _FREE))


def _without(pairs: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in pairs.items() if name not in names}


def _expanded(word: str, variables: Mapping[str, str], escape: str, span: Span) -> str:
    try:
        return expand(word, variables, Style(escape=escape)).text
    except Invalid as error:
        raise _placed(error, span) from None


def _placed(error: Invalid, span: Span) -> Invalid:
    return Invalid(error.subject, error.problem, error.remedy, str(span))
