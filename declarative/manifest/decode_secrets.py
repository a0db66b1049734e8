"""Shapes of values that may be secret: environment variables and contents of files.

The rule that keeps it simple: a secret is read here, once, into a `Secret`, and nothing in the manifest's nodes ever holds it:
what is shown or kept of a manifest is where the secret comes from. Plain and secret values share one shape for each use.
"""

from __future__ import annotations

from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from declarative.core.secret import Secret
from declarative.errors import Invalid, reason_of
from declarative.manifest.decode import Field, Record, Schema, Shape
from declarative.manifest.decode_collections import ByShape
from declarative.manifest.decode_scalars import Text
from declarative.manifest.sources import NOT_TEXT, is_text
from declarative.manifest.suggest import did_you_mean
from declarative.manifest.yaml_nodes import Scalar, kind_of

if TYPE_CHECKING:
    from declarative.manifest.decode import Reading
    from declarative.manifest.yaml_nodes import Mapping, Node

# A secret or a file that is put into a container travels in one archive held in memory.
LARGEST_FILE = 16 * 1024 * 1024


class PlainValue(Shape):
    """The text of a variable, label or option. Numbers count as they are written, truth as `true` and `false`."""

    __slots__ = ("remedy",)

    def __init__(self, remedy: str = 'write "" for an empty text, or remove the key') -> None:
        self.remedy = remedy

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the text."""
        if type(node) is not Scalar or node.value is None:
            return reading.wrong(node, "text", self.remedy)
        value = node.value
        if type(value) is str:
            return value if "\0" not in value else reading.complain(node, "holds a NUL character")
        return reading.text_of(node) if kind_of(node) == "a number" else str(value).lower()

    def schema(self) -> Schema:
        """Text, a number, or truth."""
        return {"type": ["string", "number", "boolean"]}

    def words(self) -> str:
        """Say what it is."""
        return "text"


class FilePath(Shape):
    """A path on this machine: relative to the folder of the manifest, `~/` is the home folder. Gives it absolute, as text."""

    __slots__ = ("exists", "name")

    def __init__(self, name: str = "a path", *, exists: str = "") -> None:
        """`exists` is "file" or "folder" where the path must be there already."""
        self.name = name
        self.exists = exists

    def decode(self, node: Node, reading: Reading) -> Any:
        """Give the absolute path."""
        if type(node) is not Scalar or type(node.value) is not str:
            return reading.wrong(node, self.name)
        if not node.value or "\0" in node.value:
            return reading.complain(node, "is not a path", f"write {self.name}")
        path = absolute(node.value, node, reading)
        if self.exists and not reading.outside.names_only:
            try:
                there = path.is_dir() if self.exists == "folder" else path.is_file()
            except OSError as error:
                return _unreadable(path, error, node, reading)
            if not there:
                return reading.complain(node, f"no such {self.exists}: {node.value}", f"looked for {path}")
        return str(path)

    def schema(self) -> Schema:
        """Text."""
        return {"type": "string", "minLength": 1}

    def words(self) -> str:
        """Its name."""
        return self.name


def absolute(text: str, node: Node, reading: Reading) -> Path:
    """Make `text`, written at `node`, an absolute path. `..` goes up in the text, as Compose and shells' `cd -L` take it."""
    return Path(absolute_text(text, node, reading))


def absolute_text(text: str, node: Node, reading: Reading) -> str:
    """Do as `absolute`, for paths that are only handed on: pathlib is slow where a stack has hundreds of mounts."""
    if text == "~" or text.startswith("~/"):
        text = reading.outside.home + text[1:]
    return normpath(text if text[:1] == "/" else f"{reading.folder(node)}/{text}")


def read_bytes(path: Path, node: Node, reading: Reading) -> Any:
    """Give the content of a file that `node` names, or complain."""
    if reading.outside.names_only:
        return b""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)  # a device says that it has no bytes, and never ends
    except OSError as error:
        return _unreadable(path, error, node, reading)
    if len(content) > LARGEST_FILE:
        return reading.complain(node, f"{path} is larger than 16 MiB", "mount it as a volume instead")
    return content


def _unreadable(path: Path, error: OSError, node: Node, reading: Reading) -> Any:
    shown = f"{str(path)[:200]}…" if len(str(path)) > 200 else path  # it may be the content itself, written by mistake
    return reading.complain(node, f"cannot read {shown}: {reason_of(error)}", "check the path")


class _SecretSource(Record):
    """`{env: NAME}` or `{file: PATH}`. With `strip`, the line end that editors put at the end of a file is not part of it."""

    __slots__ = ("strip",)

    def __init__(self, *, strip: bool) -> None:
        super().__init__("a secret: {env: NAME} or {file: PATH}", _SOURCE_FIELDS, self._read)
        self.strip = strip

    def _read(self, values: dict[str, Any], node: Mapping, reading: Reading) -> Any:
        if len(values) != 1:
            return reading.complain(node, "a secret has one source", "write either env or file")
        if reading.outside.names_only or not reading.outside.secrets:
            return Secret("")
        if "env" in values:
            return _from_environment(values["env"], node.items["env"], reading)
        content = read_bytes(Path(values["file"]), node.items["file"], reading)
        if not isinstance(content, bytes):
            return content
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return reading.complain(node.items["file"], "a secret must be UTF-8 text", NOT_TEXT)
        return Secret(text.removesuffix("\n").removesuffix("\r") if self.strip else text)

    def schema(self) -> Schema:
        """Give an object with one property."""
        return {**super().schema(), "minProperties": 1, "maxProperties": 1}


_SOURCE_FIELDS = (
    Field(
        name="env",
        type=Text("the name of an environment variable", pattern=r"[A-Za-z_][A-Za-z0-9_]*"),
        doc="Environment variable of the tool that holds the secret.",
        example="HOME",
    ),
    Field(name="file", type=FilePath(), doc="File that holds the secret.", example="./token.txt"),
)


def _from_environment(name: str, node: Node, reading: Reading) -> Any:
    environ = reading.outside.environ
    if name in environ:
        if not is_text(environ[name]):
            return reading.complain(node, f"the environment variable {name} is not UTF-8 text", NOT_TEXT)
        return Secret(environ[name])
    near = did_you_mean(name, environ)
    return reading.complain(
        node, f"the environment variable {name} is not set", near or f"export {name}=… and run again"
    )


def secret_source(*, strip: bool) -> Record:
    """Give the shape of what stands under `secret:`."""
    return _SecretSource(strip=strip)


def secret_or(scalar: Shape, name: str, *, strip: bool) -> ByShape:
    """Give the shape of a value that is plain, or `{secret: …}`."""
    secret = Field(
        name="secret",
        type=secret_source(strip=strip),
        doc="Where the secret comes from; it reaches the container and nothing else.",
        example={"env": "HOME"},
        required=True,
    )
    return ByShape(
        name, scalar=scalar, mapping=Record("{secret: …}", (secret,), lambda values, _n, _r: values["secret"])
    )


def environment_value() -> ByShape:
    """Give the shape of the value of an environment variable."""
    plain = PlainValue('write "" for an empty value, or NAME: {secret: {env: NAME}} to pass a variable on')
    return secret_or(plain, "text or {secret: …}", strip=True)


def octal(text: str) -> int:
    """Read file mode bits: `0440`, `440`, `0o440` are all the same. Raises Invalid."""
    digits = text.lower().removeprefix("0o")
    if not (1 <= len(digits) <= 5 and set(digits) <= set("01234567")) or int(digits, 8) > 0o7777:
        raise Invalid(f"`{text[:20]}`", "is not a file mode", "write three or four octal digits, as in 0440")
    return int(digits, 8)
