"""Opens the manifests that a verb works with, and reads what the person allows from the command line.

The rule that keeps it simple: the environment and the home folder are handed to the layers below from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.errors import Invalid, Usage, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from declarative.cli.context import Context
    from declarative.cli.options import Args
    from declarative.core.plan import Policy
    from declarative.drivers.docker import DockerDriver
    from declarative.manifest.load import Loaded, LoadOptions

DEFAULT_FILES = ("stack.yaml", "stack.yml", "declarative.yaml", "declarative.yml")


def load_options(args: Args, context: Context, *, names_only: bool = False, secrets: bool = True) -> LoadOptions:
    """Give what reading manifests needs of the world."""
    from declarative.manifest.load import LoadOptions

    return LoadOptions(
        working_folder=context.folder,
        environ=context.environ,
        home=str(context.home),
        values_files=tuple(getattr(args, "values", ())),
        sets=tuple(getattr(args, "set", ())),
        stack=args.stack,
        stdin=context.stdin,
        names_only=names_only,
        secrets=secrets,
    )


def load_manifests(
    args: Args,
    context: Context,
    *,
    names_only: bool = False,
    secrets: bool = True,
    named: Callable[[str], None] | None = None,
) -> Loaded:
    """Read what -f names, or the default file. Warnings go to standard error. For the options see LoadOptions."""
    from declarative.manifest.load import load_stack

    options = load_options(args, context, names_only=names_only, secrets=secrets)
    loaded = load_stack(manifest_files(args, context), options, named)
    for warning in loaded.warnings:
        context.err.line(context.err.paint("warning: ", "yellow") + str(warning))
    return loaded


def open_stack(args: Args, context: Context, *, read_only: bool = False) -> tuple[Loaded, DockerDriver]:
    """Read the manifests and connect to their engine. An engine on this machine looks meanwhile at what there is."""
    from declarative.cli.connection import open_driver, open_early

    driver = open_early(args, context, read_only=read_only)
    try:
        loaded = load_manifests(args, context, named=driver.expect if driver is not None else None)
        if driver is None or (loaded.stack.engine and not args.engine):
            if driver is not None:
                driver.close()
            driver = open_driver(args, context, engine=loaded.stack.engine, read_only=read_only)
    except BaseException:
        if driver is not None:
            driver.close()
        raise
    return loaded, driver


def manifest_files(args: Args, context: Context) -> list[str]:
    """Give the -f arguments, or the one default file that is there. Usage where there is none."""
    if args.files:
        return list(args.files)
    try:
        for name in DEFAULT_FILES:
            if (context.folder / name).is_file():
                return [name]
    except OSError as error:
        reason = reason_of(error)
        raise Invalid(str(context.folder), f"cannot be read: {reason}", "name manifests with -f FILE") from error
    problem = f"there is no {DEFAULT_FILES[0]} or {DEFAULT_FILES[2]} in this folder"
    raise Usage("", problem, "name manifests with -f FILE, or begin one with `declarative init`")


def policy_of(args: Args, *, destroy: bool = False) -> Policy:
    """Give what the person allows."""
    from declarative.core.plan import Policy

    return Policy(
        targets=frozenset(getattr(args, "target", ())),
        allow_deletes=getattr(args, "allow_deletes", None),
        delete_volumes=getattr(args, "delete_volumes", False),
        allow_retag=getattr(args, "allow_retag", False),
        adopt=frozenset(getattr(args, "adopt", ())),
        prune=getattr(args, "prune", True),
        destroy=destroy,
    )
