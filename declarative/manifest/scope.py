"""The names that templates may use, and where their values come from.

The rule that keeps it simple: values are plain data, merged before any template is rendered: the Stack's, then each `--values`
file, then each `--set`. What has to be asked for (the environment, git) is an object with `names` and `lookup`, and no other
attribute of it can be reached from a template.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from declarative.errors import Usage
from declarative.manifest.scalars import resolve
from declarative.manifest.sources import NOT_TEXT, is_text
from declarative.manifest.suggest import closest
from declarative.manifest.written import written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Scope = dict[str, object]
"""Name in a template → plain data, a `Lookup`, or `Absent`."""

_PART = re.compile(r"(?:[^.\\]|\\.)+")
_INDEX = re.compile(r"[0-9]{1,6}")
_QUOTED = re.compile(r"""(?P<quote>["'])(?P<text>.*)(?P=quote)""", re.DOTALL)


class TemplateFault(Exception):
    """A template asked for what cannot be given. `line` counts from 1 within the template; 0 where it is not known."""

    def __init__(self, text: str, remedy: str = "", *, line: int = 0, name: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy
        self.line = line
        self.name = name


class Absent:
    """A value that a name could have and has not: undefined for a template, with its own words."""

    def __init__(self, why: str) -> None:
        self.why = why


class Lookup(ABC):
    """A source of values that are fetched when a template uses them."""

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Give the names to choose from."""

    @abstractmethod
    def lookup(self, name: str) -> object:
        """Give plain data or `Absent`; KeyError for a name that does not exist; `TemplateFault` for one that may not be used."""


class Environment(Lookup):
    """`env` in templates: the variables that the Stack lists, and no others."""

    def __init__(self, listed: Iterable[str], environ: Mapping[str, str]) -> None:
        self._listed = frozenset(listed)
        self._environ = environ

    def names(self) -> Iterable[str]:
        """Give the names that the Stack lists."""
        return sorted(self._listed)

    def lookup(self, name: str) -> object:
        """Give the variable's text; `TemplateFault` where the Stack does not list it."""
        if name not in self._listed:
            near = closest(name, self._listed)
            remedy = f"did you mean `env.{near}`? Otherwise list it" if near else "list it"
            raise TemplateFault(
                f"`env.{name}`: the Stack does not list this variable",
                f"{remedy} in the Stack's spec: `env: [{name}]`",
                name=name,
            )
        value = self._environ.get(name)
        if value is None:
            return Absent(f"`env.{name}` is not set in the environment")
        if not is_text(value):
            raise TemplateFault(f"`env.{name}` is not UTF-8 text", NOT_TEXT, name=name)
        return value


def merge(under: object, over: object) -> object:
    """Lay `over` on `under`: mappings are merged key by key, anything else is replaced. Neither argument is changed."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merge(under[key], value) if key in under else value for key, value in over.items()}}


def apply_set(values: object, assignment: str) -> object:
    r"""Apply one `--set a.b.0=value`: give new values. Raises Usage with the way out.

    A dot separates names (`\.` is a dot in a name), a number is an index of a list (its length appends). The value is typed as a
    YAML scalar; in quotes it is text; nothing is the empty text.
    """
    if not is_text(assignment):
        raise Usage(f"--set {assignment.partition('=')[0]}", "is not UTF-8 text", NOT_TEXT)
    path, equals, text = assignment.partition("=")
    parts = [re.sub(r"\\(.)", r"\1", part) for part in _PART.findall(path)]
    if not equals or not parts or not re.fullmatch(r"(?:[^.\\]|\\.)+(?:\.(?:[^.\\]|\\.)+)*", path):
        raise Usage(f"--set {assignment}", "is not of the form name.name=value", "for example --set image.tag=1.9.2")
    quoted = _QUOTED.fullmatch(text)
    value = quoted["text"] if quoted else (written(resolve(text), text) if text else "")
    return _put(values, parts, value, f"--set {assignment}")


def _put(under: object, parts: list[str], value: object, subject: str) -> object:
    if not parts:
        return value
    head, *rest = parts
    if isinstance(under, list):
        return _put_item(under, head, rest, value, subject)
    if under is None:
        under = {}
    if not isinstance(under, dict):
        raise Usage(subject, f"`{head}` is to be set in what is no mapping and no list", "set the value above it first")
    return {**under, head: _put(under.get(head), rest, value, subject)}


def _put_item(under: list[object], head: str, rest: list[str], value: object, subject: str) -> object:
    if not _INDEX.fullmatch(head) or int(head) > len(under):
        raise Usage(
            subject,
            f"`{head}` is not an index of a list of {len(under)}",
            f"use 0 to {len(under)}; {len(under)} appends",
        )
    index = int(head)
    old = under[index] if index < len(under) else None
    return [*under[:index], _put(old, rest, value, subject), *under[index + 1 :]]


def path_of(scope: Scope, wanted: object) -> str:
    """Name a mapping or list of the scope as a template would: `values.db.hosts[0]`; "" where it is not in the scope."""
    for name, value in scope.items():
        found = _path(value, wanted, name)
        if found:
            return found
    return ""


def _path(value: object, wanted: object, path: str) -> str:
    if value is wanted and isinstance(value, dict | list | Lookup):
        return path
    if isinstance(value, dict):
        below = [(item, f"{path}.{key}") for key, item in value.items()]
    elif isinstance(value, list):
        below = [(item, f"{path}[{index}]") for index, item in enumerate(value)]
    else:
        return ""
    return next((found for item, where in below if (found := _path(item, wanted, where))), "")
