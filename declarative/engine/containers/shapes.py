"""Records that are objects of the API's JSON: a table says what each field is called; reading and writing are derived from it.

Docker's daemon is written in Go, and its clients see Go's habits: a list that was never set is null, an empty one is [], some
fields are left out where they are zero. So a field that is a list or a map may be None here, and comes back as it came in.

The rule that keeps it simple: a value is checked once, in `read`; unknown keys are passed over, as Go does; nothing else of the
engine sees JSON of these objects.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from declarative.errors import Invalid
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")
Json = Any


@record
class Kind:
    """What values a field takes: `name` for messages, the zero value, how it is read (raising ValueError) and written."""

    name: str
    zero: Any
    read: Callable[[Json, str], Any]
    write: Callable[[Any], Json]


@record(kw_only=False)
class Shape:
    """One field: the record's attribute, the JSON key, and whether a zero value is left out (Go's `omitempty`)."""

    attribute: str
    key: str
    kind: Kind
    omit: bool = False


_SHAPES: dict[type, tuple[Shape, ...]] = {}


def shape(kind: type, *fields: Shape) -> None:
    """Say how a record class stands in JSON. The order is the order of the document."""
    _SHAPES[kind] = fields


def read(kind: type[_T], document: Json, place: str = "") -> _T:
    """Read an object into a record. Invalid, with the path of the field, for a value of another kind. null is an empty object."""
    if document is not None and not isinstance(document, dict):
        raise _wrong(place, "an object", document)
    values = {}
    fields: Mapping[str, Json] = document or {}
    for field in _SHAPES[kind]:
        value = fields.get(field.key)
        if value is None:
            values[field.attribute] = field.kind.zero
            continue
        path = f"{place}.{field.key}" if place else field.key
        try:
            values[field.attribute] = field.kind.read(value, path)
        except ValueError:
            raise _wrong(path, field.kind.name, value) from None
    return kind(**values)


def write(instance: Any) -> dict[str, Json]:
    """Write a record as an object."""
    written = {}
    for field in _SHAPES[type(instance)]:
        value = getattr(instance, field.attribute)
        if not (field.omit and (value is None or value == field.kind.zero or value in ((), {}))):
            written[field.key] = None if value is None else field.kind.write(value)
    return written


def _wrong(path: str, wanted: str, found: Json) -> Invalid:
    return Invalid("", f"invalid JSON: {path or 'the document'} must be {wanted}, not {repr(found)[:80]}")


def _exactly(*kinds: type) -> Callable[[Json, str], Json]:
    def check(value: Json, _: str) -> Json:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise ValueError
        return value

    return check


def _same(value: Any) -> Json:
    return value


_INT64 = 1 << 63


def _number(value: Json, _: str) -> int:
    if isinstance(value, float) and value.is_integer():  # Go takes 1e9 for an int64 from some clients' JSON writers
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -_INT64 <= value < _INT64:
        raise ValueError
    return value


def _texts(value: Json, _: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004 - one error for every wrong value
    return tuple(map(_text, value))


def _text(value: Json) -> str:
    """Read a text inside a list or a map; null is Go's zero value there, too: the Python SDK sends a label of None so."""
    if not isinstance(value, str | None):
        raise ValueError  # noqa: TRY004
    return value or ""


def _argv(value: Json, path: str) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else _texts(value, path)


def _numbers(value: Json, path: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004
    return tuple(_number(item, path) for item in value)


def _pairs(value: Json, _: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004
    return MappingProxyType({name: _text(item) for name, item in value.items()})


def _names(value: Json, _: str) -> tuple[str, ...]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004
    return tuple(value)


def _lists(value: Json, path: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        raise ValueError  # noqa: TRY004
    return tuple(_texts(item, path) for item in value)


TEXT = Kind(name="a text", zero="", read=_exactly(str), write=_same)
FLAG = Kind(name="true or false", zero=False, read=_exactly(bool), write=_same)
NUMBER = Kind(name="a whole number", zero=0, read=_number, write=_same)
MAYBE_FLAG = Kind(name="true or false", zero=None, read=_exactly(bool), write=_same)
MAYBE_NUMBER = Kind(name="a whole number", zero=None, read=_number, write=_same)
TEXTS = Kind(name="a list of texts", zero=None, read=_texts, write=list)
ARGV = Kind(name="a text or a list of texts", zero=None, read=_argv, write=list)
LISTS = Kind(
    name="a list of lists of texts", zero=None, read=_lists, write=lambda value: [list(item) for item in value]
)
NUMBERS = Kind(name="a list of whole numbers", zero=(), read=_numbers, write=list)
PAIRS = Kind(name="a map of texts", zero=None, read=_pairs, write=dict)
NAMES = Kind(name="a map of empty objects", zero=None, read=_names, write=lambda value: {name: {} for name in value})


def one(kind: type, zero: Any = None) -> Kind:
    """Give the kind of a field that is an object of its own; `zero` where it is absent."""
    return Kind(name="an object", zero=zero, read=lambda value, path: read(kind, value, path), write=write)


def many(kind: type) -> Kind:
    """Give the kind of a field that is a list of objects."""

    def take(value: Json, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError  # noqa: TRY004
        return tuple(read(kind, item, f"{path}[{index}]") for index, item in enumerate(value))

    return Kind(name="a list of objects", zero=None, read=take, write=lambda value: [write(item) for item in value])


def table(inner: Kind) -> Kind:
    """Give the kind of a field that is a map of texts to `inner`; null values inside stay None."""

    def take(value: Json, path: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise ValueError  # noqa: TRY004
        found = {key: None if item is None else inner.read(item, f"{path}.{key}") for key, item in value.items()}
        return MappingProxyType(found)

    def give(value: Mapping[str, Any]) -> Json:
        return {key: None if item is None else inner.write(item) for key, item in value.items()}

    return Kind(name="a map of objects", zero=None, read=take, write=give)
