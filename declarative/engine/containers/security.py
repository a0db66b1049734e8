"""`--security-opt`: what a container may not gain, and which system calls it may make.

The rule that keeps it simple: read once into a record. Labels (SELinux) and AppArmor are taken as dockerd takes them on a machine
that has neither: the words are checked, and nothing follows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from declarative.errors import Invalid
from declarative.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


@record
class SecurityOptions:
    """`seccomp`: "" for the default profile, "unconfined", "builtin", or a profile's JSON text."""

    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    labels: tuple[str, ...] = field(default=())


def read_options(options: Iterable[str]) -> SecurityOptions:
    """Read the options. Invalid, in Docker's words, for one that is none."""
    found: dict[str, Any] = {"labels": ()}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign:
            name, sign, value = option.partition(":")  # the form of before Docker 1.11
        if option == "no-new-privileges":
            found["no_new_privileges"] = True
        elif not sign:
            raise Invalid("", f'invalid --security-opt 1: "{option}"')
        elif name == "label":
            found["labels"] = (*found["labels"], value)
        elif name in {"seccomp", "apparmor"}:
            found[name] = value
        elif name == "no-new-privileges" and value in _TRUE | _FALSE:
            found["no_new_privileges"] = value in _TRUE
        else:
            raise Invalid("", f'invalid --security-opt 2: "{option}"')
    return SecurityOptions(**found)


def read_profile(text: str) -> Mapping[str, Any]:
    """Read a seccomp profile. Invalid, in Docker's words."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        first = text.strip()[:1]
        reason = f"invalid character '{first}' looking for beginning of value" if first not in "{[" else str(error)
        raise Invalid("", f"Decoding seccomp profile failed: {reason}") from None
    if not isinstance(document, dict):
        raise Invalid("", "Decoding seccomp profile failed: it is no JSON object")
    return document
