"""`declarative render`: print manifests with every template filled in. Rendering what was rendered changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.manifest.yaml_nodes import Document

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
        context.print_json({"stack": loaded.desired.stack, "documents": [to_plain(item.root) for item in chosen]})
        return 0
    from declarative.manifest.yaml_dump import to_yaml

    context.out.write(to_yaml(document.root for document in chosen))
    return 0


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
