"""`declarative render`: print manifests with every template filled in. Rendering what was rendered changes nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.manifest.yaml_nodes import Document, Plain, Scalar

HELP = (
    "Print the manifests with every template filled in, the Stack first, in one canonical form.\n"
    "Secrets are not in it: they stand there as where they come from. With --target, only these documents.\n"
    "Relative paths count from the folder of their manifest, and a stack without a name has that folder's: to apply what was\n"
    "rendered (`declarative render -f shop | (cd shop && declarative apply -f -)`), stand in that folder."
)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)


def run(args: Args, context: Context) -> int:
    """Render and print."""
    from declarative.cli.alarm import alarm
    from declarative.cli.opening import load_manifests
    from declarative.manifest.yaml_nodes import to_plain

    with alarm(args.timeout):
        loaded = load_manifests(args, context, names_only=True)  # what no document shows is not needed
    chosen = _chosen(loaded.documents, frozenset(args.target))
    if context.json:
        leaf = partial(_in_json, as_text=loaded.as_text)
        context.print_json({"stack": loaded.desired.stack, "documents": [to_plain(item.root, leaf) for item in chosen]})
        return 0
    from declarative.manifest.yaml_dump import to_yaml

    context.out.write(to_yaml(document.root for document in chosen))
    return 0


def _in_json(scalar: Scalar, as_text: Container[int]) -> Plain:
    """Give a value so that it is read back as it is; a number that stands for text, as 1.20 does in a tag, as that text."""
    from declarative.manifest.yaml_dump import escaped
    from declarative.manifest.yaml_parse import has_marks

    value = scalar.value
    if isinstance(value, str):
        return escaped(value) if has_marks(value) else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    has_form = repr(value) not in ("inf", "-inf", "nan")
    return (
        scalar.text if is_number and (id(scalar) in as_text or not has_form) and repr(value) != scalar.text else value
    )


def _chosen(documents: Iterable[Document], targets: frozenset[str]) -> list[Document]:
    """Keep what --target names. Invalid where the manifests do not have it."""
    from declarative.errors import Invalid

    named = [(label_of(document), document) for document in documents]
    known = [label for label, _ in named]
    for target in sorted(targets - set(known)):
        raise Invalid(target, "no such document to render", f"there are {', '.join(known) or 'none'}")
    return [document for label, document in named if not targets or label in targets]


def label_of(document: Document) -> str:
    """Name a document as --target does: "Container/web"."""
    from declarative.manifest.yaml_nodes import to_plain

    plain = to_plain(document.root)
    if not isinstance(plain, dict):
        return ""
    metadata = plain.get("metadata")
    name = metadata.get("name", "") if isinstance(metadata, dict) else ""
    return f"{plain.get('kind', '')}/{name}"
