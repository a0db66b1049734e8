"""`@record`: frozen, slotted, keyword-only data classes that cost next to nothing until the first one is made.

Every run of the command line imports some two hundred of them and makes instances of a third. `dataclasses` compiles half a
dozen methods for each when it is defined, and imports `inspect` and `ast` to do so: a third of the time of an apply with nothing
to do (`python -m tests.bench startup`). Here a class gets shared methods, and its `__init__` is compiled when it is first called.
Type checkers see an ordinary dataclass (PEP 681). The rule that keeps it simple: plain fields, defaults, factories; no more.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_MISSING: Any = object()


class FrozenRecordError(AttributeError):
    """Somebody wrote to a field of a frozen record."""


class _Field:
    """What `field` leaves behind in a class body."""

    __slots__ = ("compare", "default", "hash", "make", "repr")

    def __init__(
        self, default: Any, make: Callable[[], Any] | None, *, shown: bool, compare: bool, hashed: bool
    ) -> None:
        self.default = default
        self.make = make
        self.repr = shown
        self.compare = compare
        self.hash = hashed


def field(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | None = None,
    repr: bool = True,  # noqa: A002 - the names dataclasses has
    compare: bool = True,
    hash: bool = True,  # noqa: A002
) -> Any:
    """Say more of a field: a default, or one made anew for each instance; whether it is printed, compared, hashed."""
    return _Field(default, default_factory, shown=repr, compare=compare, hashed=hash and compare)


@overload
def record(cls: type[_T], /) -> type[_T]: ...
@overload
def record(
    *, frozen: bool = True, order: bool = False, kw_only: bool = True, eq: bool = True, repr: bool = True
) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def record(
    cls: type[_T] | None = None,
    /,
    *,
    frozen: bool = True,
    order: bool = False,
    kw_only: bool = True,
    eq: bool = True,
    repr: bool = True,  # noqa: A002 - the name dataclasses has
) -> Any:
    """Make a record of a class whose body annotates its fields. Options are those of `dataclasses.dataclass`."""

    def build(cls: type[_T]) -> type[_T]:
        return _build(cls, frozen=frozen, order=order, kw_only=kw_only, eq=eq, show=repr)

    return build if cls is None else build(cls)


def replace(instance: _T, /, **changes: Any) -> _T:
    """Give a copy with these fields changed. Raises TypeError for a name that is no field."""
    kind: Any = type(instance)
    made: _T = kind(**{name: getattr(instance, name) for name in kind.__fields__} | changes)
    return made


def defaults_of(kind: Any) -> dict[str, Any]:
    """Give the fields of a record class that have a default, each with (a fresh copy of) it."""
    found = {}
    for name, value in kind.__field_defaults__.items():
        if not isinstance(value, _Field):
            found[name] = value
        elif value.make is not None:
            found[name] = value.make()
        elif value.default is not _MISSING:
            found[name] = value.default
    return found


def _build(cls: type[_T], *, frozen: bool, order: bool, kw_only: bool, eq: bool, show: bool) -> type[_T]:
    body = dict(cls.__dict__)
    names = tuple(body.get("__annotations__", ()))
    defaults = {name: body.pop(name) for name in names if name in body}
    body.pop("__dict__", None)
    body.pop("__weakref__", None)
    body |= {"__slots__": names, "__fields__": names, "__field_defaults__": defaults}
    body |= {f"__{use}_fields__": _names(names, defaults, use) for use in ("repr", "compare", "hash")}
    body["__match_args__"] = () if kw_only else names
    owner: list[type] = []
    body["__init__"] = _first_init(owner, names, defaults, kw_only=kw_only)
    body["__getstate__"], body["__setstate__"] = _state, _set_state
    if show:
        body.setdefault("__repr__", _repr)
    if frozen:
        body["__setattr__"], body["__delattr__"] = _refuse_write, _refuse_delete
    if eq:
        body.setdefault("__eq__", _eq)
        body.setdefault("__hash__", _hash if frozen else None)
    if order:
        body["__lt__"], body["__le__"], body["__gt__"], body["__ge__"] = _lt, _le, _gt, _ge
    meta: Any = type(cls)
    made: type[_T] = meta(cls.__name__, cls.__bases__, body)
    made.__qualname__ = cls.__qualname__
    owner.append(made)
    return made


def _names(names: tuple[str, ...], defaults: dict[str, Any], use: str) -> tuple[str, ...]:
    special = {name for name, value in defaults.items() if isinstance(value, _Field) and not getattr(value, use)}
    return tuple(name for name in names if name not in special) if special else names


def _first_init(owner: list[type], names: tuple[str, ...], defaults: dict[str, Any], *, kw_only: bool) -> Any:
    """Give an `__init__` that puts the real one in its place and calls it. `owner` holds the class, once it is made.

    Two threads may make their first instances at once: then it is compiled twice, and both are right.
    """

    def __init__(self: Any, *args: Any, **values: Any) -> None:  # noqa: N807 - it is one
        kind: Any = owner[0]
        compiled = _compile_init(kind, names, defaults, kw_only=kw_only)
        kind.__init__ = compiled
        compiled(self, *args, **values)

    return __init__


def _compile_init(kind: Any, names: tuple[str, ...], defaults: dict[str, Any], *, kw_only: bool) -> Any:
    """Compile `__init__`: fields are set through their slots, which also works where setting is refused."""
    scope: dict[str, Any] = {"_missing": _MISSING}
    parameters, lines = [], []
    for name in names:
        scope[f"_set_{name}"] = kind.__dict__[name].__set__
        default = defaults.get(name, _MISSING)
        value = name
        make = default.make if isinstance(default, _Field) else None
        default = default.default if isinstance(default, _Field) else default
        if make is not None:
            scope[f"_make_{name}"] = make
            parameters.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif default is not _MISSING:
            scope[f"_default_{name}"] = default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        lines.append(f" _set_{name}(self, {value})")
    star = "*, " if kw_only and parameters else ""
    text = f"def __init__(self, {star}{', '.join(parameters)}):\n" + ("\n".join(lines) or " pass")
    exec(text, scope)  # noqa: S102 - names of fields of our own classes, as dataclasses does it
    return scope["__init__"]


def _pick(instance: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    if len(names) > 1:
        values: tuple[Any, ...] = attrgetter(*names)(instance)
        return values
    return (getattr(instance, names[0]),) if names else ()


def _values(instance: Any) -> tuple[Any, ...]:
    return _pick(instance, instance.__compare_fields__)


def _state(self: Any) -> tuple[Any, ...]:
    return _pick(self, self.__fields__)


def _set_state(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(self.__fields__, state, strict=True):
        type(self).__dict__[name].__set__(self, value)


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_pick(self, self.__hash_fields__))


def _lt(self: Any, other: object) -> Any:
    return _values(self) < _values(other) if type(other) is type(self) else NotImplemented


def _le(self: Any, other: object) -> Any:
    return _values(self) <= _values(other) if type(other) is type(self) else NotImplemented


def _gt(self: Any, other: object) -> Any:
    return _values(self) > _values(other) if type(other) is type(self) else NotImplemented


def _ge(self: Any, other: object) -> Any:
    return _values(self) >= _values(other) if type(other) is type(self) else NotImplemented


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__repr_fields__)
    return f"{type(self).__qualname__}({shown})"


def _refuse_write(self: object, name: str, value: object) -> None:
    del value
    raise FrozenRecordError(f"cannot write to {type(self).__name__}.{name}: it is frozen")


def _refuse_delete(self: object, name: str) -> None:
    raise FrozenRecordError(f"cannot delete {type(self).__name__}.{name}: it is frozen")
