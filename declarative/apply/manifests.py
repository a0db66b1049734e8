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

    from declarative.manifest.load import Loaded, LoadOptions
    from declarative.manifest.sources import Source
    from declarative.manifest.yaml_nodes import Mapping as Node

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
        sources[key].append(document.root)
    files = {}
    index = {"stack": loaded.desired.stack, "files": {}}
    for number, (key, roots) in enumerate(sources.items(), start=1):
        name = f"{number:03}.yaml"
        files[name] = to_yaml(roots)
        index["files"][name] = about[key]  # type: ignore[index]
    files[INDEX] = json.dumps(index, indent=2, sort_keys=True)
    return files


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
