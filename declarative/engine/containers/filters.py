"""Filters of `docker ps` and `docker container prune`.

The rule that keeps it simple: every filter is a row of a table: its name, and how its values become a test of one container.
Several values of one filter are "any of", except labels; several filters are "all of".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.engine.containers.life import Status
from declarative.engine.containers.network_view import port_list
from declarative.engine.containers.points import VOLUME
from declarative.errors import Failed, Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from declarative.engine.containers.container import Container
    from declarative.engine.networks.records import ContainerNetwork

Values = tuple[str, ...]
_HEALTHS = ("none", "starting", "healthy", "unhealthy")
_SHOWS_ALL = frozenset({"status", "before", "since"})


@record
class Lookups:
    """What filters ask of the rest of the engine.

    A container by name (NotFound), the images that descend from one that is named, a container's networking, a network's id.
    """

    container: Callable[[str], Container]
    descendants: Callable[[str], frozenset[str]]
    network: Callable[[str], ContainerNetwork | None]
    network_id: Callable[[str], str]


if TYPE_CHECKING:
    Test = Callable[[Container], bool]
    Maker = Callable[[Values, Lookups], Test]


def shows_all(filters: Mapping[str, Values]) -> bool:
    """Tell whether filters ask for containers that are not up too."""
    return bool(_SHOWS_ALL & filters.keys())


def matcher(filters: Mapping[str, Values], lookups: Lookups, names: Mapping[str, Maker] | None = None) -> Test:
    """Give the test of all filters at once. Invalid, in Docker's words, for one that there is not."""
    known = LIST if names is None else names
    tests = []
    for name, values in filters.items():
        if name not in known:
            raise Invalid("", f"invalid filter '{name}'")
        if values:
            tests.append(known[name](values, lookups))
    return lambda container: all(test(container) for test in tests)


def _ancestor(values: Values, lookups: Lookups) -> Test:
    images = frozenset().union(*(lookups.descendants(value) for value in values))
    return lambda container: container.image_id in images


def _before(values: Values, lookups: Lookups) -> Test:
    other = lookups.container(values[0])
    return lambda container: (container.created, container.id) < (other.created, other.id)


def _since(values: Values, lookups: Lookups) -> Test:
    other = lookups.container(values[0])
    return lambda container: (container.created, container.id) > (other.created, other.id)


def _exited(values: Values, _: Lookups) -> Test:
    codes = set()
    for value in values:
        if not re.fullmatch(r"[+-]?\d{1,9}", value, re.ASCII):
            raise Invalid("", f"invalid filter 'exited={value}': strconv.Atoi: parsing \"{value}\": invalid syntax")
        codes.add(int(value))
    return lambda container: (
        container.state.exit_code in codes and not container.state.is_active and container.state.started > 0
    )


def _expose(values: Values, lookups: Lookups) -> Test:
    wanted = _ports(values, "expose")
    return lambda container: any(
        f"{row['PrivatePort']}/{row['Type']}" in wanted for row in port_list(container, lookups.network(container.id))
    )


def _publish(values: Values, lookups: Lookups) -> Test:
    wanted = _ports(values, "publish")
    return lambda container: any(
        f"{row.get('PublicPort', 0)}/{row['Type']}" in wanted
        for row in port_list(container, lookups.network(container.id))
    )


def _ports(values: Values, what: str) -> frozenset[str]:
    found: set[str] = set()
    for value in values:
        span, _, protocol = value.partition("/")
        first, dash, last = span.partition("-")
        for number in (first, last) if dash else (first,):
            if not number.isascii() or not number.isdigit() or int(number) > 65535:
                raise Failed(
                    "",
                    f'error while looking up for {what} {value}: strconv.ParseUint: parsing "{number}": invalid syntax',
                )
        ends = int(first), int(last if dash else first)
        found.update(f"{port}/{protocol or 'tcp'}" for port in range(ends[0], ends[1] + 1))
    return frozenset(found)


def _health(values: Values, _: Lookups) -> Test:
    for value in values:
        if value not in _HEALTHS:
            raise Invalid("", f"unrecognized filter value for health: {value}")
    return lambda container: (container.state.health.status if container.state.health else "none") in values


def _id(values: Values, _: Lookups) -> Test:
    return lambda container: any(_found(value, container.id) for value in values)


def _name(values: Values, _: Lookups) -> Test:
    return lambda container: any(
        _found(value, container.name) or _found(value, f"/{container.name}") for value in values
    )


def _found(pattern: str, text: str) -> bool:
    try:
        return text == pattern or re.search(pattern, text) is not None
    except re.error:
        return False


def _is_task(values: Values, _: Lookups) -> Test:
    words = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    wanted = {words.get(value.lower()) for value in values}
    if None in wanted:
        raise Invalid("", f"invalid filter 'is-task=[{' '.join(values)}]'")
    return lambda _container: False in wanted  # tasks are swarm's; there are none


def _isolation(_values: Values, _: Lookups) -> Test:
    return lambda _container: True  # of Windows; dockerd on Linux passes it over too


def labels(values: Values, _: Lookups) -> Test:
    """Give the test for every one of `KEY` or `KEY=VALUE`."""
    return lambda container: has_labels(container.config.labels or {}, values)


def has_labels(found: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Tell whether every one of `KEY` or `KEY=VALUE` is there."""
    for text in wanted:
        key, sign, value = text.partition("=")
        if key not in found or (sign and found[key] != value):
            return False
    return True


def _network(values: Values, lookups: Lookups) -> Test:
    def test(container: Container) -> bool:
        for name in container.networks:
            if name in values:
                return True
            id_ = lookups.network_id(name)
            if id_ and any(id_.startswith(value) for value in values):
                return True
        return False

    return test


def _status(values: Values, _: Lookups) -> Test:
    for value in values:
        if value not in list(Status):
            raise Invalid("", f"invalid filter 'status={value}'")
    return lambda container: container.state.status in values


def _volume(values: Values, _: Lookups) -> Test:
    return lambda container: any(
        point.destination in values or (point.kind == VOLUME and point.name in values) or point.source in values
        for point in container.points
    )


LIST: Mapping[str, Maker] = {
    "ancestor": _ancestor,
    "before": _before,
    "exited": _exited,
    "expose": _expose,
    "health": _health,
    "id": _id,
    "is-task": _is_task,
    "isolation": _isolation,
    "label": labels,
    "name": _name,
    "network": _network,
    "publish": _publish,
    "since": _since,
    "status": _status,
    "volume": _volume,
}
