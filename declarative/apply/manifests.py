"""Rendered manifests as files: what history and saved plans keep, and how they are read back.

The rule that keeps it simple: what is kept is what `render` prints, one file per source, and reading it again gives the same
stack. Secrets are not in it: they stand there as where they come from, and are read anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from declarative.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.resources import Desired
    from declarative.manifest.load import Loaded, LoadOptions
    from declarative.manifest.sources import Source
    from declarative.manifest.yaml_nodes import Document
    from declarative.manifest.yaml_nodes import Mapping as Node
    from declarative.manifest.yaml_nodes import Node as AnyNode

INLINED = 1 << 16
"""Bytes of a file that is kept by its content; a larger one is kept by its path."""

INDEX = "index.json"  # file → the folder that relative paths in it count from, and the name it had


def files_of(loaded: Loaded) -> dict[str, str]:
    """Give file → text. Files are numbered in their order, so that reading them in order of name is reading as before."""
    import json

    from declarative.manifest.yaml_dump import to_yaml

    sources: dict[str, list[Node]] = {}
    about: dict[str, dict[str, str]] = {}
    for document in loaded.documents:
        key = document.source.name
        if key not in sources:
            sources[key] = []
            about[key] = {"name": key, "folder": str(document.source.folder.resolve())}
        sources[key].append(_with_version(_with_content(document), loaded.desired))
    files = {}
    index = {"stack": loaded.desired.stack, "files": {}}
    for number, (key, roots) in enumerate(sources.items(), start=1):
        name = f"{number:03}.yaml"
        files[name] = to_yaml(roots)
        index["files"][name] = about[key]  # type: ignore[index]
    files[INDEX] = json.dumps(index, indent=2, sort_keys=True)
    return files


def _with_content(document: Document) -> Node:
    """Put the content of a container's `files` in the place of their paths: what is brought back is what was applied.

    Secrets stay where they are, and so does what is no text, or too large for a history that is kept in every engine.
    """
    from declarative.manifest.yaml_nodes import Mapping, Sequence

    spec = document.root.get("spec")
    files = spec.get("files") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(files, Sequence):
        return document.root
    entries = Sequence([_inlined(entry, document.source.folder) for entry in files.items], files.line, files.column)
    return _having(document.root, "spec", _having(spec, "files", entries))


def _with_version(root: Node, desired: Desired) -> Node:
    """Put the version of a TagScheme in the place of the file or the commit that said it: that goes on."""
    from declarative.manifest.yaml_nodes import Mapping, Scalar

    spec, metadata, kind = root.get("spec"), root.get("metadata"), root.get("kind")
    stated = spec.get("version_from") if isinstance(spec, Mapping) else None
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(kind, Scalar) or kind.value != "TagScheme" or not isinstance(name, Scalar):
        return root
    scheme = desired.schemes.get(str(name.value))
    if not isinstance(spec, Mapping) or not isinstance(stated, Mapping) or scheme is None or not scheme.spec.version:
        return root
    items = {key: node for key, node in spec.items.items() if key != "version_from"}
    items["version"] = Scalar(scheme.spec.version, stated.line, stated.column, scheme.spec.version)
    keys = {**spec.keys, "version": Scalar("version", stated.line, stated.column, "version")}
    return _having(root, "spec", Mapping(items, keys, spec.line, spec.column))


def _inlined(entry: AnyNode, folder: Path) -> AnyNode:
    from declarative.manifest.yaml_nodes import Mapping, Scalar

    path = entry.get("file") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(path, Scalar) or not isinstance(path.value, str):
        return entry
    try:
        content = (folder / path.value).read_bytes()
        text = content.decode() if len(content) <= INLINED else None
    except (OSError, UnicodeDecodeError):
        return entry
    if text is None:
        return entry
    items = {name: node for name, node in entry.items.items() if name != "file"}
    keys = {name: key for name, key in entry.keys.items() if name != "file"}
    items["content"] = Scalar(text, path.line, path.column, text)
    keys["content"] = Scalar("content", path.line, path.column, "content")
    return Mapping(items, keys, entry.line, entry.column)


def _having(node: Node, name: str, value: AnyNode) -> Node:
    """Copy a mapping with one value replaced."""
    from declarative.manifest.yaml_nodes import Mapping

    return Mapping({**node.items, name: value}, node.keys, node.line, node.column)


def read_back(files: Mapping[str, str], options: LoadOptions) -> Loaded:
    """Read kept files again. Raises InvalidManifest as when they were read first, Invalid where they are not ours."""
    import json

    from declarative.manifest.documents import Options, load
    from declarative.manifest.load import resolve_documents
    from declarative.manifest.sources import Source

    try:
        index = json.loads(files[INDEX])
        sources = [
            Source(name=str(entry["name"]), text=files[name], folder=Path(entry["folder"]))
            for name, entry in sorted(index["files"].items())
        ]
        stack = str(index["stack"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Invalid(
            "kept manifests", "cannot be read: they are not in our form", "apply the manifests anew"
        ) from error
    rendered = load(
        (_plain(source) for source in sources),
        Options(working_folder=options.working_folder, environ=options.environ, stack=stack),
    )
    return resolve_documents(rendered, options)


def _plain(source: Source) -> Source:
    """Let what was rendered from a `*.j2` be no template any more."""
    from declarative.record import replace

    return replace(source, name=source.name.removesuffix(".j2"))
