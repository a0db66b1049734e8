"""`declarative build`: the build steps of an apply and nothing else; and a shell where one of them failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.cli.options import add_common, add_execution

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from declarative.apply.report import Report
    from declarative.cli.context import Context
    from declarative.cli.options import Args, Parser
    from declarative.core.actions import BuildImage
    from declarative.core.plan import Policy
    from declarative.core.resources import Desired
    from declarative.drivers.docker import DockerDriver
    from declarative.drivers.port import BuildFailed, Driver, Progress

HELP = (
    "Build the images that need it, of all the stack or of those named; what they are built on comes first. Runs nothing.\n"
    "With --debug a failed build opens a shell in the state just before the step that failed."
)
SHELL = ("sh",)


def add_arguments(parser: Parser) -> None:
    """Add the options."""
    add_common(parser)
    add_execution(parser)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an Image that is built (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be built")
    parser.add_argument("--debug", action="store_true", help="open a shell where a build fails")
    parser.add_argument("--allow-retag", action="store_true", help="let a full version tag move")
    parser.add_argument("--exit-code", action="store_true", help="exit with 2 if something was built")


def run(args: Args, context: Context) -> int:
    """Build, or show what would be built."""
    from declarative.cli.connection import open_driver
    from declarative.cli.opening import load_manifests
    from declarative.errors import Usage

    if args.debug and context.json:
        raise Usage("build", "-o json is one document, and --debug is a conversation", "leave one of them out")
    loaded = load_manifests(args, context)
    policy = _policy(loaded.desired, args)
    desired = only_images(loaded.desired)
    driver = open_driver(args, context, engine=loaded.stack.engine, read_only=args.dry_run)
    try:
        if args.dry_run:
            return _show(desired, policy, driver, context)
        return _build(desired, policy, driver, args, context)
    finally:
        driver.close()


def _policy(desired: Desired, args: Args) -> Policy:
    from declarative.core.plan import Policy

    targets = frozenset(f"Image/{name}" for name in chosen(desired, [*args.names, *_targeted(args.target)]))
    return Policy(targets=targets, allow_retag=args.allow_retag, prune=False)


def _targeted(targets: Iterable[str]) -> list[str]:
    """Take --target as a name where it names an Image; nothing else is built. Raises Usage."""
    from declarative.errors import Usage

    for target in targets:
        if not target.startswith("Image/"):
            raise Usage("--target", f"{target} is no Image", "build takes the names of images")
    return [target.removeprefix("Image/") for target in targets]


def chosen(desired: Desired, names: Sequence[str]) -> list[str]:
    """Give the images to build: those named, or all that are built. Raises NotFound, and Invalid for what is not built."""
    from declarative.core.resources import BuildSource
    from declarative.errors import Invalid, NotFound
    from declarative.manifest.suggest import did_you_mean

    built = [name for name, image in desired.images.items() if isinstance(image.spec.source, BuildSource)]
    for name in names:
        if name not in desired.images:
            listed = f"the stack builds {', '.join(built) or 'nothing'}"
            raise NotFound(f"Image/{name}", "there is no such image", did_you_mean(name, desired.images) or listed)
        if name not in built:
            place = desired.images[name].places.at("spec")
            raise Invalid(f"Image/{name}", "is not built: it is pulled, imported or loaded", "apply brings it", place)
    if not built:
        raise Invalid(f"stack {desired.stack}", "has no image that is built", "`declarative explain Image.build`")
    return list(names) or built


def only_images(desired: Desired) -> Desired:
    """Leave out all that a build does not need, so that nothing there can keep it from going on."""
    from declarative.record import replace

    return replace(desired, containers={}, jobs={}, networks={}, volumes={})


def _show(desired: Desired, policy: Policy, driver: Driver, context: Context) -> int:
    from declarative.apply.run import look
    from declarative.cli.plan import show

    show(look(desired, driver, policy)[0], context)
    return 0


def _build(desired: Desired, policy: Policy, driver: DockerDriver, args: Args, context: Context) -> int:
    from declarative.cli.applying import conclude, execute, options_of

    report = execute(desired, driver, options_of(args, context, policy, "build"), args, context)
    code = conclude(report, args, context)
    if args.debug and (failed := failed_build(report)) is not None:
        _open_shell(*failed, driver, context)
    return code


def failed_build(report: Report) -> tuple[BuildImage, BuildFailed] | None:
    """Give the first build that failed at a step of its Dockerfile."""
    from declarative.core.actions import BuildImage
    from declarative.drivers.port import BuildFailed

    for outcome in report.failures:
        for action in outcome.step.actions:
            if isinstance(action, BuildImage) and isinstance(outcome.error, BuildFailed):
                return action, outcome.error
    return None


def _open_shell(action: BuildImage, failure: BuildFailed, driver: DockerDriver, context: Context) -> None:
    """Run a shell in the state before the failed step. Raises Unsupported where the builder kept none."""
    from declarative.cli.terminal import streams
    from declarative.drivers.docker.debug import state_before
    from declarative.errors import Unsupported

    with state_before(driver, action, failure, _silent) as image:
        if not image:
            problem = "the builder kept no state before the step that failed"
            raise Unsupported(failure.subject, problem, "mend the first instructions of the Dockerfile")
        before = f"before `{failure.step}`" if failure.step else "before the step that failed"
        context.err.line(context.err.paint(f"a shell in {image}, the state {before}; `exit` ends it", "bold"))
        with streams(context) as ends:
            driver.run(image, SHELL, ends)


def _silent(word: Progress) -> None:
    del word
