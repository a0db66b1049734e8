"""`dataclass`, as the standard library has it, without its price at import: methods are made when they are first called.

The standard decorator compiles up to six methods for each class while its module is imported: half of the start-up time of a
command that uses a third of the classes. Here a class gets its fields and slots from the standard decorator, comparison and
printing from closures, and its `__init__`, the one that has to be fast, is compiled at the first instance.

The rule that keeps it simple: what is asked for beyond frozen, slots, kw_only and repr, and a class with a base, goes to the
standard decorator. Type checkers see nothing but that one.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - re-exported
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """Decorate a class as `dataclasses.dataclass(**options)` does."""

        def decorate(cls: type) -> type:
            ours = cls.__bases__ == (object,) and options.keys() <= _OPTIONS and not _OWN & cls.__dict__.keys()
            return _record(cls, **options) if ours else dataclasses.dataclass(**options)(cls)

        return decorate


_OPTIONS = {"frozen", "slots", "kw_only", "repr"}
_OWN = {"__post_init__", "__init__", "__eq__", "__hash__"}
_ABSENT: Any = object()  # stands for a default that a factory makes


def _record(cls: type, *, frozen: bool = False, slots: bool = False, kw_only: bool = False, repr: bool = True) -> Any:  # noqa: A002 - the standard decorator's name
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
    fields = dataclasses.fields(made)
    methods: dict[str, Any] = {"__init__": _first_init(made, fields, frozen=frozen), "__eq__": _equality(fields)}
    if repr and "__repr__" not in cls.__dict__:
        methods["__repr__"] = _printing(fields)
    methods["__hash__"] = _hashing(fields) if frozen else None
    if frozen:
        methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
        methods |= {"__getstate__": _state, "__setstate__": _set_state} if slots else {}
    for name, method in methods.items():
        setattr(made, name, method)
    made.__dataclass_params__.frozen = frozen  # subclasses are checked against it
    return made


def _first_init(cls: type, fields: Sequence[dataclasses.Field[Any]], *, frozen: bool) -> Callable[..., None]:
    def first(self: object, /, *args: object, **kwargs: object) -> None:
        compiled = _compile_init(cls, fields, frozen=frozen)
        cls.__init__ = compiled  # type: ignore[misc] # the point of it all
        compiled(self, *args, **kwargs)

    return first


def _compile_init(cls: type, fields: Sequence[dataclasses.Field[Any]], *, frozen: bool) -> Callable[..., None]:
    """Write and compile `__init__`, as PEP 557 describes it."""
    scope: dict[str, Any] = {"_absent": _ABSENT, "_set": object.__setattr__}
    positional: list[str] = []
    keyword: list[str] = []
    body: list[str] = []
    for field in fields:
        value = field.name
        if field.default_factory is not dataclasses.MISSING:
            scope[f"_default_{field.name}"] = field.default_factory
            value = (
                f"_default_{field.name}() if {field.name} is _absent else {field.name}"
                if field.init
                else f"_default_{field.name}()"
            )
            parameter = f"{field.name}=_absent"
        elif field.default is not dataclasses.MISSING:
            scope[f"_default_{field.name}"] = field.default
            parameter = f"{field.name}=_default_{field.name}"
            value = field.name if field.init else f"_default_{field.name}"
        elif field.init:
            parameter = field.name
        else:
            continue  # left unset, as there
        if field.init:
            (keyword if field.kw_only else positional).append(parameter)
        body.append(f"_set(self, {field.name!r}, {value})" if frozen else f"self.{field.name} = {value}")
    parameters = ["self", *positional, *(["*", *keyword] if keyword else [])]
    source = f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"])
    exec(source, scope)  # noqa: S102 - as the standard decorator does; made of field names alone
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _values(names: list[str]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _equality(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[Any, object], Any]:
    values = _values([field.name for field in fields if field.compare])

    def equal(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return equal


def _hashing(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[Any], int]:
    values = _values([field.name for field in fields if (field.compare if field.hash is None else field.hash)])

    def hashed(self: Any) -> int:
        return hash(values(self))

    return hashed


def _printing(fields: Sequence[dataclasses.Field[Any]]) -> Callable[[Any], str]:
    names = [field.name for field in fields if field.repr]

    def shown(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return shown


def _refuse_set(self: object, name: str, value: object) -> None:  # noqa: ARG001 - the protocol's signature
    msg = f"cannot assign to field {name!r}"
    raise dataclasses.FrozenInstanceError(msg)


def _refuse_delete(self: object, name: str) -> None:  # noqa: ARG001 - the protocol's signature
    msg = f"cannot delete field {name!r}"
    raise dataclasses.FrozenInstanceError(msg)


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
