"""`declarative init`: write a first manifest that can be applied as it is, and the schema that an editor checks it by.

The rule that keeps it simple: what is there is never overwritten, but for the schema, which is ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.cli.options import add_output

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser

HELP = (
    "Write a first manifest, stack.yaml: of the folder's Dockerfile where there is one, else of an image.\n"
    "The schema beside it, .declarative/manifest.schema.json, lets an editor complete and check it. Overwrites no manifest."
)
MANIFEST = "stack.yaml"
SCHEMA = ".declarative/manifest.schema.json"
_IMAGE = "nginx:alpine"
_PORT = re.compile(r"^\s*EXPOSE\s+(\d{1,5})", re.IGNORECASE | re.MULTILINE)
_NOT_IN_NAME = re.compile(r"[^a-z0-9]+")

_HEAD = """\
# yaml-language-server: $schema={schema}
#
#   declarative plan                what apply would do
#   declarative apply               do it; again, and nothing changes
#   declarative explain Container   every field
apiVersion: declarative/v1
kind: Stack
metadata: {{name: {name}}}
"""
_BUILD = """\
---
apiVersion: declarative/v1
kind: Image
metadata: {name: app}
spec:
  build: {context: .}
"""
_CONTAINER = """\
---
apiVersion: declarative/v1
kind: Container
metadata: {{name: web}}
spec:
  image: {image}
  restart: unless-stopped
{ports}"""


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_output(parser)
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where (default: here)")
    parser.add_argument("--name", default="", help="the stack's name (default: the folder's)")
    parser.add_argument("--image", default="", metavar="REFERENCE", help=f"an image to run (default: {_IMAGE})")
    parser.add_argument("--no-schema", action="store_true", help="write no schema for editors")


def run(args: Args, context: Context) -> int:
    """Write the files and say what comes next."""
    folder = context.folder / args.folder
    _refuse_existing(folder)
    text = manifest(folder, name=args.name, image=args.image, schema="" if args.no_schema else SCHEMA)
    written = [_write(folder / MANIFEST, text, new=True)]
    if not args.no_schema:
        from declarative.manifest import schema

        written.append(_write(folder / SCHEMA, schema.text(schema.MANIFEST), new=False))
    if context.json:
        context.print_json({"files": [str(path) for path in written]})
        return 0
    for path in written:
        context.out.line(f"wrote {path}")
    where = "" if folder.resolve() == context.folder.resolve() else f" -f {written[0]}"
    context.out.line(f"next: declarative plan{where}, then declarative apply{where}")
    return 0


def manifest(folder: Path, *, name: str = "", image: str = "", schema: str = SCHEMA) -> str:
    """Give the text of a first manifest for a folder. Invalid where `name` or `image` cannot be one."""
    from declarative.errors import Invalid
    from declarative.manifest.scalar_write import quote
    from declarative.oci.reference import Reference

    found = name or _NOT_IN_NAME.sub("-", folder.resolve().name.lower()).strip("-") or "stack"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", found):
        raise Invalid("--name", f"{name!r} is no name of a stack", "use small letters, digits, - and _")
    dockerfile = folder / "Dockerfile"
    is_built = not image and dockerfile.is_file()
    text = _HEAD.format(schema=schema, name=quote(found))
    if not schema:
        text = text.partition("#\n")[2]
    if is_built:
        text += _BUILD
    else:
        Reference.parse(image or _IMAGE)
    run_ = "{image: app}" if is_built else quote(image or _IMAGE)
    return text + _CONTAINER.format(image=run_, ports=_ports(dockerfile if is_built else None, image))


def _ports(dockerfile: Path | None, image: str) -> str:
    """Publish the first port that the Dockerfile exposes, or that of the default image."""
    if dockerfile is not None:
        found = _PORT.search(dockerfile.read_text(encoding="utf-8", errors="replace"))
        return f'  ports: ["8080:{found[1]}"]\n' if found else ""
    return '  # ports: ["8080:80"]\n' if image else '  ports: ["8080:80"]\n'


def _refuse_existing(folder: Path) -> None:
    from declarative.cli.opening import DEFAULT_FILES
    from declarative.errors import Conflict, Invalid, NotFound, reason_of

    try:
        if not folder.is_dir():
            raise NotFound(str(folder), "there is no such folder", f"mkdir {folder}")
        found = [name for name in DEFAULT_FILES if (folder / name).exists()]
    except OSError as error:
        reason = reason_of(error)
        raise Invalid(str(folder), f"cannot be read: {reason}", "choose another folder") from error
    if found:
        raise Conflict(str(folder / found[0]), "is there already", "nothing was written; move it away first")


def _write(path: Path, text: str, *, new: bool) -> Path:
    """Write a file whole or not at all. Raises Failed, Conflict."""
    from declarative.errors import Conflict, Failed

    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x" if new else "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(str(path), "is there already", "nothing was written; move it away first") from None
    except OSError as error:
        if new:
            path.unlink(missing_ok=True)
        raise Failed(
            str(path), f"cannot be written: {error.strerror}", "check the disk and the folder's rights"
        ) from error
    return path
