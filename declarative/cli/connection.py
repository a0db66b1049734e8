"""Connects to an engine, with everything the driver needs of the world: credentials, build contexts, chance.

The rule that keeps it simple: nothing here is read before the driver asks for it; a plan without changes asks for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from declarative.cli.context import Context
    from declarative.cli.options import Args
    from declarative.core.resources import BuildSource
    from declarative.drivers.address import Address
    from declarative.drivers.docker import DockerDriver
    from declarative.drivers.docker.build import ContextTar
    from declarative.registry.client import RegistryClient
    from declarative.registry.credentials import DockerConfig

_SILENCE_SECONDS = 60.0  # how long an engine may be silent; a busy one needs seconds


def find_engine(args: Args, context: Context, engine: str = "") -> Address:
    """Find the engine: --engine, else what the Stack says (`engine`), else auto. Raises Usage where --engine is wrong."""
    from declarative.drivers.address import resolve
    from declarative.errors import Invalid, Usage

    try:
        return resolve(args.engine or engine or "auto", context.environ, context.home)
    except Invalid as error:
        # What the Stack, the environment or a docker context says is no matter of usage.
        if not args.engine or error.subject != "--engine":
            raise
        raise Usage(error.subject, error.problem, error.remedy) from None


def open_driver(
    args: Args, context: Context, *, engine: str = "", read_only: bool = False, start: bool = True
) -> DockerDriver:
    """Connect to the engine that `find_engine` finds.

    The embedded one is started where it does not run, unless `start` is off.
    """
    address = find_engine(args, context, engine)
    if address.embedded is not None and start:
        from declarative.cli.embedded import ensure

        ensure(address.embedded, context.environ, address.origin)
    return _driver(address, args, context, read_only=read_only)


def open_early(args: Args, context: Context, *, read_only: bool = False) -> DockerDriver | None:
    """Connect before the manifests are read, where the engine is on this machine and answers at once; else None.

    It is asked already what there is. Nothing is told here: who opens the driver in the ordinary way tells it in good time.
    """
    from declarative.dockerapi.transport import UnixEndpoint
    from declarative.errors import DeclarativeError

    try:
        address = find_engine(args, context)
    except DeclarativeError:
        return None
    if not isinstance(address.endpoint, UnixEndpoint):
        return None
    driver = _driver(address, args, context, read_only=read_only)
    if driver.begin():
        return driver
    driver.close()
    return None


def _driver(address: Address, args: Args, context: Context, *, read_only: bool) -> DockerDriver:
    from declarative.drivers.docker import DockerDriver, Surroundings
    from declarative.drivers.docker.plugin import buildx_environment

    world = _World(context)
    surroundings = Surroundings(
        salt=salt,
        open_context=_open_context,
        auth_header=world.auth_header,
        registry=world.registry,
        buildx=buildx_environment(context.environ, context.home),
    )
    # a run may not wait longer for one answer than for all
    silence = min(args.timeout or _SILENCE_SECONDS, _SILENCE_SECONDS)
    return DockerDriver(address.endpoint, surroundings, read_only=read_only, timeout=silence)


def salt() -> str:
    """Give fresh hex, to seal secrets under."""
    import os

    return os.urandom(16).hex()


def holder(context: Context, command: str) -> dict[str, str]:
    """Say who we are, for who finds the stack locked."""
    from declarative.drivers.holder import describe

    user = context.environ.get("USER") or context.environ.get("LOGNAME") or ""
    return describe(user=user, command=command, nonce=salt())


def _open_context(source: BuildSource) -> ContextTar:
    from declarative.drivers.docker.build import ContextTar
    from declarative.manifest.context.dockerignore import ignore_lines
    from declarative.manifest.context.tarball import classic_context

    inline = source.dockerfile_inline.encode() if source.dockerfile_inline else None
    lines = ignore_lines(source.context, source.dockerfile)
    packed = classic_context(source.context, lines, source.dockerfile, inline)
    return ContextTar(dockerfile=packed.dockerfile, chunks=packed.chunks)


class _World:
    """What the person's Docker configuration says about registries, read when first asked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._config: DockerConfig | None = None

    @property
    def config(self) -> DockerConfig:
        """The credential part of config.json."""
        if self._config is None:
            from pathlib import Path

            from declarative.registry.credentials import DockerConfig

            environ = self._context.environ
            path = Path(environ.get("DOCKER_CONFIG") or self._context.home / ".docker") / "config.json"
            self._config = DockerConfig.parse(_content(path), subject=str(path), environment=environ)
        return self._config

    def auth_header(self, domain: str) -> str:
        """Give X-Registry-Auth for a registry."""
        from declarative.registry.credentials import registry_auth_header

        return registry_auth_header(self.config.credential(domain), domain)

    def registry(self, domain: str, insecure: bool) -> RegistryClient:
        """Give a client for a registry. `insecure`: it may do without TLS, or have any certificate."""
        from pathlib import Path

        from declarative.registry.client import RegistryClient
        from declarative.registry.proxies import Proxies
        from declarative.registry.session import DOCKER_CERTS, Settings

        settings = Settings(
            insecure=frozenset({domain} if insecure else ()),
            certs=Path(DOCKER_CERTS),
            proxies=Proxies.of(self._context.environ),
        )
        return RegistryClient(domain, credential=self.config.credential, settings=settings)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return b"{}"
    except OSError as error:
        from declarative.errors import Invalid, reason_of

        problem = f"cannot be read: {reason_of(error)}"
        raise Invalid(str(path), problem, "mend its permissions, or name another folder in DOCKER_CONFIG") from error
