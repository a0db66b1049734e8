"""COPY and ADD as jobs: what they take, the digest of it, and the layer they make.

The rule that keeps it simple: everything is found and hashed before the cache is asked, and nothing is written; making the
layer then cannot find anything else. Sources are groups: the context's (or an image's) paths, URLs, here-documents.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from declarative.engine.build.choosing import Choice, Taking, choose, missing
from declarative.engine.build.context import Context
from declarative.engine.build.digests import digest_of
from declarative.engine.build.fetching import fetch_into, is_url
from declarative.engine.build.git import fetch_repository, is_repository
from declarative.engine.build.image_files import ImageFiles
from declarative.engine.build.job import Job
from declarative.engine.build.owners import find_owner, parse_mode
from declarative.engine.build.placing import Delivery, destination, place
from declarative.engine.images.layers.entry import Kind
from declarative.errors import DeclarativeError, Failed, Invalid, NotFound, Unsupported
from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from declarative.engine.build import commands as c
    from declarative.engine.build.files import Files
    from declarative.engine.build.output import Voice
    from declarative.engine.build.site import Site
    from declarative.engine.build.state import State

Lowers = tuple["Path", ...]


@record
class Origin:
    """The image that `--from` means: what tells it from others, and its layers' folders."""

    id: str
    lowers: Lowers


def copy_job(site: Site, state: State, step: c.Copy, origin: Origin | None, voice: Voice, stack: ExitStack) -> Job:
    """Prepare a COPY or ADD. What it opens is closed with `stack`. NotFound, Invalid, Unavailable, in Docker's words."""
    name = "ADD" if step.add else "COPY"
    try:
        return _prepared(site, state, step, origin, voice, stack)
    except NotFound as error:
        where = "" if step.origin else "file not found in build context or excluded by .dockerignore: "
        raise Failed("", f"{name} failed: {where}{error.problem}", error.remedy) from error
    except (Invalid, Unsupported, Failed) as error:
        raise Failed("", f"{name} failed: {_said(error)}", error.remedy) from error


def _prepared(site: Site, state: State, step: c.Copy, origin: Origin | None, voice: Voice, stack: ExitStack) -> Job:
    words = _Words(state, step)
    lowers = state.lowers(site.parts.images)
    chown, chmod = words.one(step.chown), words.one(step.chmod)
    how = Delivery(
        destination=destination(state.draft.run.working_dir, words.one(step.destination)),
        owner=find_owner(chown, lowers, site.new_folder) if chown else None,
        mode=parse_mode(chmod) if chmod else None,
        unpack=step.add and step.unpack is not False,
        now=site.parts.clock(),
    )
    sources = _sources(site, step, words, origin, voice, stack)
    content = _content(site, sources, words.of_image(origin) if origin is not None else "")
    flags = f"--chown={chown} " if chown else ""
    flags += f"--chmod={chmod} " if chmod else ""
    flags += "--link " if step.link else ""
    says = (
        f"{' '.join(state.draft.shell)} #(nop) {'ADD' if step.add else 'COPY'} {flags}{content} in {how.destination} "
    )

    def act(upper: Path) -> None:
        place(upper, () if step.link else lowers, sources, how)

    return Job(says=says, inputs=(repr(how.owner), repr(how.mode), repr(how.unpack), repr(step.unpack)), act=act)


class _Words:
    """The step's words with variables expanded."""

    def __init__(self, state: State, step: c.Copy) -> None:
        self._state = state
        self._step = step

    def one(self, word: str) -> str:
        return self._state.scope.expanded(word, self._step.span) if word else ""

    def all(self, words: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.one(word) for word in words)

    def body(self, text: str) -> str:
        return self._state.scope.body(text, self._step.span)

    def of_image(self, origin: Origin) -> str:
        """Give what tells these files of an image from others, which is enough since an image never changes."""
        if self._step.heredocs:
            return ""
        return repr((origin.id, self.all(self._step.sources), self.all(self._step.exclude), self._step.parents))


def _sources(
    site: Site, step: c.Copy, words: _Words, origin: Origin | None, voice: Voice, stack: ExitStack
) -> list[tuple[Files, Taking]]:
    exclude = words.all(step.exclude)
    found: list[tuple[Files, Taking]] = []
    paths: list[str] = []
    tree: Files = site.context
    if origin is not None:
        tree = stack.enter_context(ImageFiles(origin.lowers))

    def flush() -> None:
        if paths:
            choice = Choice(sources=tuple(paths), exclude=exclude, parents=step.parents)
            found.extend((tree, taking) for taking in choose(tree, choice))
            paths.clear()

    for source in words.all(step.sources):
        if step.add and (is_repository(source) or is_url(source)):
            flush()
            found.extend(_remote(site, step, source, words, voice, stack))
        else:
            _refuse_checksum(step, source)
            paths.append(source)
    flush()
    if step.heredocs:
        found.extend(_documents(site, step, words, stack))
    return found


def _refuse_checksum(step: c.Copy, source: str) -> None:
    if step.checksum:
        raise Invalid("", f"checksum can't be specified for {source}: only for HTTP(S) and git sources")


def _remote(
    site: Site, step: c.Copy, source: str, words: _Words, voice: Voice, stack: ExitStack
) -> list[tuple[Files, Taking]]:
    """Fetch a URL, as a file of the name that ends its path, or a repository, as the files in it."""
    checksum = words.one(step.checksum)
    if is_repository(source):
        folder = site.new_folder()
        proxies = site.parts.settings.proxies
        fetch_repository(source, folder, keep_git=step.keep_git_dir, checksum=checksum, stop=site.stop, proxies=proxies)
        files = stack.enter_context(ImageFiles((folder,)))
        choice = Choice(sources=("/",), exclude=words.all(step.exclude))
        return [(files, taking) for taking in choose(files, choice)]
    fetched = _empty_context(site, stack)
    name = fetch_into(
        fetched,
        source,
        into=words.one(step.destination),
        checksum=checksum,
        voice=voice,
        stop=site.stop,
        proxies=site.parts.settings.proxies,
    )
    file = fetched.lookup(name)
    if file is None:
        raise missing(source)
    return [(fetched, Taking(file=file, name=name, whole=step.unpack is not True))]


def _documents(site: Site, step: c.Copy, words: _Words, stack: ExitStack) -> list[tuple[Files, Taking]]:
    made = _empty_context(site, stack)
    found: list[tuple[Files, Taking]] = []
    for heredoc in step.heredocs:
        text = words.body(heredoc.text) if heredoc.expand else heredoc.text
        name = os.fsencode(heredoc.name)
        made.add(name, text.encode("utf-8", "surrogateescape"))
        file = made.lookup(name)
        if file is not None:
            found.append((made, Taking(file=file, name=name, whole=True)))
    return found


def _empty_context(site: Site, stack: ExitStack) -> Context:
    made = Context.in_folder(site.folder)
    stack.callback(made.close)
    return made


def _content(site: Site, sources: Sequence[tuple[Files, Taking]], known: str) -> str:
    """Give `file:DIGEST`, `dir:DIGEST` or `multi:DIGEST`: what is taken, but for times."""
    kind = "multi"
    if len(sources) == 1:
        kind = "dir" if sources[0][1].file.kind is Kind.DIRECTORY else "file"
    if not known:
        return f"{kind}:{digest_of(sources)}"
    key = hashlib.sha256(known.encode()).hexdigest()
    digest = site.parts.cache.digest(key)
    if not digest:
        digest = digest_of(sources)
        site.parts.cache.put_digest(key, digest, site.parts.clock())
    return f"{kind}:{digest}"


def _said(error: DeclarativeError) -> str:
    return f"{error.subject}: {error.problem}" if error.subject else error.problem
