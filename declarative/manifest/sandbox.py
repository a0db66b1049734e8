"""Evaluates templates: jinja2 in its immutable sandbox, with every undefined name an error and every loop bounded.

The rule that keeps it simple: this is the only file that knows jinja2, and it is imported only when a template is there. What
goes wrong in a template leaves here as a `TemplateFault` that says so in our words, and everything that makes a text, a list or
a number passes `bounds`. `lipsum` and `random` are not offered: the same input gives the same output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any

from jinja2 import FunctionLoader, StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

from declarative.manifest.bounds import (
    Bounds,
    bounded_range,
    check_call,
    check_format_filter,
    check_length,
    check_operator,
    held,
)
from declarative.manifest.scope import Absent, Lookup, Scope, TemplateFault, path_of
from declarative.manifest.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

_RESULT = "result"
_TEMPLATE_FILE = "<template>"
_CACHED = 4096
"""Compiled templates kept: compiling one takes half a millisecond, and stacks repeat the same few."""


class _NotDefined(Exception):
    """A template used a name that has no value. `owner` is what it was looked up in, None for a name of the scope itself."""

    def __init__(self, name: str, owner: object, why: str) -> None:
        super().__init__(name)
        self.name = name
        self.owner = owner
        self.why = why


class _Missing(StrictUndefined):
    """jinja2's strict undefined value, raising our own exception, which knows the name and where it was looked up."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = None) -> None:
        owner = None if obj is missing else obj
        told = exc if exc is SecurityError else lambda _: _NotDefined(str(name), owner, hint or "")
        super().__init__(hint, obj, name, exc=told)  # type: ignore[arg-type]  # a function that makes the exception serves too

    # jinja2 leaves this one out, which `range` asks for; it fails as all the others do.
    __index__ = StrictUndefined.__len__


class _Bounds(NodeTransformer):
    """Makes every round of a loop and every call of a macro count, and gives `~` a bounded form."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802 - the visitor's own naming
        self.generic_visit(node)
        node.body.insert(0, _step(node.lineno))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:  # noqa: N802 - the visitor's own naming
        self.generic_visit(node)
        node.body.insert(0, _step(node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802 - the visitor's own naming
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(parts, "concat", [], [], None, None, lineno=node.lineno)


def _step(line: int) -> nodes.ExprStmt:
    call = nodes.Call(nodes.EnvironmentAttribute("step", lineno=line), [], [], None, None, lineno=line)
    return nodes.ExprStmt(call, lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that templates of one run are compiled in."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        loader = FunctionLoader(_no_files)
        super().__init__(undefined=_Missing, finalize=_spelled, keep_trailing_newline=True, cache_size=0, loader=loader)
        self.bounds = Bounds()
        # What JSON has no form for is taken as it would be without the filter: what is undefined says so.
        self.policies["json.dumps_kwargs"] = {**self.policies["json.dumps_kwargs"], "default": _plain}
        del self.globals["lipsum"]
        del self.filters["random"]
        self.globals["range"] = bounded_range
        self.filters["concat"] = _concat
        self.filters = {name: self._bounded(name, filter_) for name, filter_ in self.filters.items()}
        self.compiled = lru_cache(_CACHED)(self._prepare)

    def step(self) -> None:
        """Count one round of a loop (calls are counted by `call`, which every use of this passes)."""

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call `obj` for a template, within the bounds."""
        self.bounds.step()
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format in a function of its own
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str):
            args = tuple(map(held, args))
            check_call(method.__name__, owner, (*args, *kwargs.values()))
        return self.bounds.result(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute `left operator right` for a template, where the result has a bounded size."""
        check_operator(operator, left, right)
        return self.bounds.result(super().call_binop(context, operator, left, right))

    def _bounded(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give a filter within the bounds. `wraps` keeps jinja2's marks on the function; marked ones get a context first."""
        first = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            if name == "join":
                args = tuple(map(held, args))
            value, rest = args[first], (*args[first + 1 :], *kwargs.values())
            if name == "format":
                check_format_filter(str(value), rest)
            else:
                check_call(name, value, rest)
            return self.bounds.result(function(*args, **kwargs))

        return bounded

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look `obj.attribute` up: a key of a mapping before a method of it, so that `values.items` can be a value."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Absent):
            return self.undefined(obj.why, obj=obj, name=attribute)
        return self._lookup(obj, attribute) if isinstance(obj, Lookup) else super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look `obj[argument]` up."""
        if isinstance(obj, Lookup | Absent):
            return self.getattr(obj, str(argument))
        return super().getitem(obj, argument)

    def _lookup(self, obj: Lookup, name: str) -> Any:
        try:
            value = obj.lookup(name)
        except KeyError:
            return self.undefined(obj=obj, name=name)
        return self.undefined(value.why, obj=obj, name=name) if isinstance(value, Absent) else value

    def _prepare(self, text: str, native: bool) -> tuple[Template, bool]:
        """Compile `text`; the second value says that it is exactly one `{{ expression }}`, whose value is then in `result`."""
        tree = _Bounds().visit(self.parse(text))
        expression = _one_expression(tree) if native else None
        if expression is not None:
            tree.body = [nodes.Assign(nodes.Name(_RESULT, "store", lineno=1), expression, lineno=1)]
        tree.set_environment(self)
        return self.from_string(tree), expression is not None

    def text(self, text: str, scope: Scope) -> str:
        """Render `text` to text, whatever it is. Raises TemplateFault."""
        value = self._evaluate(text, scope, native=False)
        return value if isinstance(value, str) else str(value)

    def value(self, text: str, scope: Scope) -> object:
        """Evaluate `text`: the value of its expression where it is exactly one, otherwise text. Raises TemplateFault."""
        return self._evaluate(text, scope, native=True)

    def _evaluate(self, text: str, scope: Scope, *, native: bool) -> object:
        template: Template | None = None
        self.bounds = Bounds()
        try:
            template, is_expression = self.compiled(text, native)
            context = template.new_context(scope)
            pieces = _joined(template.root_render_func(context))
            return _plain(context.vars[_RESULT]) if is_expression else pieces
        except Exception as error:  # noqa: BLE001 - templates can raise whatever Python can, and all of it is the template's fault
            raise _fault(error, scope, template) from None


def _no_files(name: str) -> None:
    raise TemplateFault(
        f"a template cannot take in other files ({name})",
        "give -f several files or a folder, and what they share in `values`",
    )


def _spelled(value: object) -> object:
    """Spell in a text what YAML has words for as YAML does: `debug = false`, not Python's `False`."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return value


def _one_expression(tree: nodes.Template) -> nodes.Expr | None:
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        return None
    only = tree.body[0].nodes[0]
    return None if isinstance(only, nodes.TemplateData) else only


def _plain(value: object) -> object:
    """Turn what an expression gave into plain data, iterators into lists; raises where some part is undefined or is no data."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | StrictUndefined):
        return str(value)  # raises for what is undefined
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | range | Iterator):
        return [_plain(item) for item in value]
    if isinstance(value, Absent | Lookup):
        raise TemplateFault(
            "the expression gives a group of names, not a value", "use one of its names: `{{ git.commit }}`"
        )
    raise TemplateFault(
        f"the expression gives a {type(value).__name__}, which YAML cannot hold", "turn it into text or a list"
    )


def _joined(pieces: Iterable[str]) -> str:
    whole: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        check_length(size)
        whole.append(piece)
    return "".join(whole)


def _concat(parts: list[object]) -> str:
    texts = [str(_spelled(part)) for part in parts]
    check_length(sum(map(len, texts)))
    return "".join(texts)


_KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (SecurityError, "the template does what is not allowed: {said}", "use values and filters only"),
    (RecursionError, "the template nests too deeply", "does a macro call itself?"),
    (MemoryError, "the template needs too much memory", "does a loop or a macro never end?"),
)


def _fault(error: Exception, scope: Scope, template: Template | None) -> TemplateFault:
    line = _line(error.__traceback__, template) if template else 0
    if isinstance(error, TemplateFault):
        error.line = error.line or line
        return error
    if isinstance(error, _NotDefined):
        return _not_defined(error, scope, line)
    if isinstance(error, TemplateSyntaxError):
        return TemplateFault(
            f"the template is wrong: {_lower(error.message or '')}", "see the jinja2 syntax", line=error.lineno
        )
    for kind, text, remedy in _KINDS:
        if isinstance(error, kind):
            return TemplateFault(text.format(said=_lower(str(error))), remedy, line=line)
    return TemplateFault(f"the template fails: {_lower(str(error))}", "check the types of its values", line=line)


def _lower(said: str) -> str:
    return said[:1].lower() + said[1:].rstrip(".")


def _line(trace: TracebackType | None, template: Template) -> int:
    """Find the line of the template that the innermost of its frames was at."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _TEMPLATE_FILE:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _not_defined(error: _NotDefined, scope: Scope, line: int) -> TemplateFault:
    if error.why:
        return TemplateFault(
            error.why, "set it, or give a default: `{{ … | default('x') }}`", line=line, name=error.name
        )
    if error.owner is None:
        return TemplateFault(
            f"`{error.name}` is not defined", _remedy_at_top(error.name, scope), line=line, name=error.name
        )
    path = path_of(scope, error.owner)
    whole = f"{path}.{error.name}" if path else error.name
    return TemplateFault(f"`{whole}` is not defined", _remedy_below(error, path), line=line, name=error.name)


def _remedy_at_top(name: str, scope: Scope) -> str:
    near = closest(name, scope)
    if near:
        return f"did you mean `{near}`?"
    values = scope.get("values")
    near = closest(name, values) if isinstance(values, dict) else None
    return (
        f"did you mean `values.{near}`?"
        if near
        else f"in scope are {', '.join(f'`{known}`' for known in sorted(scope))}"
    )


def _remedy_below(error: _NotDefined, path: str) -> str:
    owner = error.owner
    names = (
        list(owner.names())
        if isinstance(owner, Lookup)
        else [str(key) for key in owner]
        if isinstance(owner, dict)
        else []
    )
    near = closest(error.name, names)
    if near:
        return f"did you mean `{path}.{near}`?" if path else f"did you mean `{near}`?"
    if path.partition(".")[0] == "values":
        return (
            f"set it in the Stack's `values`, in a --values file, or with --set {path.removeprefix('values').lstrip('.')}"
            + (f".{error.name}=…" if path != "values" else f"{error.name}=…")
        )
    return f"there are {', '.join(sorted(names))}" if names else "check what stands before the dot"
