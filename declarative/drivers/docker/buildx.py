"""Building with BuildKit: `docker buildx build` against the same engine, read line by line.

The rule: the builder runs inside the engine (builder `default`, driver docker), so that what it builds is there at once; secrets
reach it through the environment, never through a file or an argument.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from declarative.dockerapi.transport import SshEndpoint, TcpEndpoint, UnixEndpoint
from declarative.drivers.docker.build import build_failed
from declarative.drivers.port import Progress
from declarative.errors import DeclarativeError, Denied, Failed, Unavailable
from declarative.record import replace

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from declarative.core.actions import BuildImage
    from declarative.core.resources import BuildSource
    from declarative.dockerapi.client import EngineClient
    from declarative.drivers.docker.images import Report

    Programs = set[subprocess.Popen[bytes]]  # what runs now, to be ended when the driver is closed

_FAILED_STEP = re.compile(r"^ > \[(?P<where>[^\]]*)\] (?P<text>.*?):?$", re.MULTILINE)
_ERROR = re.compile(r"^ERROR: (?P<text>.*)$", re.MULTILINE)
_MEANINGS: tuple[tuple[re.Pattern[str], type[DeclarativeError], str, str], ...] = (
    (
        re.compile(r"authorization failed|insufficient_scope|401 unauthorized|403 forbidden", re.IGNORECASE),
        Denied,
        "the registry refuses access",
        "check the base image's name, and log in with `docker login`",
    ),
    (
        re.compile(
            r"i/o timeout|connection refused|connection reset|no such host|unexpected status: (?:5\d\d|429)"
            r"|cannot connect to the docker daemon|error reading from server|closing transport",
            re.IGNORECASE,
        ),
        Unavailable,
        "the engine or a registry did not answer",
        "run again",
    ),
)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)


def build(
    client: EngineClient,
    action: BuildImage,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    report: Report,
    programs: Programs,
) -> None:
    """Build and load. `environment` is what the docker client shall run with; the engine's address is added here."""
    source = action.source
    options = [*arguments(source, action.references, labels), "--file", source.dockerfile or "-", source.context]
    code, output = _run(client, source, options, source.dockerfile_inline, environment, report, programs)
    if code != 0:
        raise _failure(action, output, code)


def last_good(
    client: EngineClient,
    source: BuildSource,
    text: str,
    line: int,
    environment: Mapping[str, str],
    report: Report,
    programs: Programs,
) -> str:
    """Build what comes before `line` of the Dockerfile `text`, which is in the builder's cache; the image's id, or ""."""
    import tempfile
    from pathlib import Path

    before = "\n".join(text.splitlines()[: line - 1]) + "\n"
    with tempfile.TemporaryDirectory(prefix="declarative-") as folder:
        told = Path(folder, "iid")
        options = [*arguments(replace(source, target="", no_cache=False), (), {}), "--iidfile", str(told)]
        options += ["--file", "-", source.context]
        code, _ = _run(client, source, options, before, environment, report, programs)
        return told.read_text(encoding="ascii").strip() if code == 0 else ""


def _run(
    client: EngineClient,
    source: BuildSource,
    options: list[str],
    dockerfile: str,
    environment: Mapping[str, str],
    report: Report,
    programs: Programs,
) -> tuple[int, str]:
    """Run buildx to its end; exit code, and what it printed."""
    import subprocess

    env = {**environment, **engine_environment(client), **_secret_environment(source)}
    env["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    with subprocess.Popen(
        ["docker", *engine_options(client), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,  # Ctrl-C is ours to handle, for every step alike
    ) as process:
        programs.add(process)
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(dockerfile.encode(errors="surrogateescape"))  # type: ignore[union-attr]  # both are pipes
                process.stdin.close()  # type: ignore[union-attr]
            output: list[str] = []
            for raw in process.stderr or ():
                output.append(line := raw.decode("utf-8", "replace"))
                if text := line.rstrip("\n"):
                    report(Progress(text=text))
        except BaseException:
            end(process)
            raise
        finally:
            programs.discard(process)
    return process.returncode, "".join(output)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a build: the docker command and the plugin that it started, which cancels the work in the engine."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def arguments(source: BuildSource, references: tuple[str, ...], labels: Mapping[str, str]) -> list[str]:
    """Write the arguments of `docker`."""
    found = ["buildx", "build", "--builder", "default", "--load", "--progress", "plain"]
    for reference in references:
        found += ["--tag", reference]
    for name, value in sorted(labels.items()):
        found += ["--label", f"{name}={value}"]
    for name, argument in sorted(source.args.items()):
        found += ["--build-arg", f"{name}={argument}"]
    for number, name in enumerate(sorted(source.secrets)):
        found += ["--secret", f"id={name},type=env,env={_variable(number)}"]
    options = {"--target": source.target, "--network": source.network, "--platform": source.platform}
    for option, text in options.items():
        found += [option, text] if text else []
    found += ["--no-cache"] if source.no_cache else []
    return found


def _variable(number: int) -> str:
    return f"DECLARATIVE_SECRET_{number}"


def _secret_environment(source: BuildSource) -> dict[str, str]:
    return {_variable(number): secret.reveal() for number, (_, secret) in enumerate(sorted(source.secrets.items()))}


def engine_environment(client: EngineClient) -> dict[str, str]:
    """Give the environment by which the docker client reaches the same engine."""
    match client.endpoint:
        case UnixEndpoint() | SshEndpoint():
            return {"DOCKER_HOST": client.address, "DOCKER_CONTEXT": "", "DOCKER_TLS": "", "DOCKER_TLS_VERIFY": ""}
        case TcpEndpoint():
            return {"DOCKER_HOST": client.address, "DOCKER_CONTEXT": ""}


def engine_options(client: EngineClient) -> list[str]:
    """Give the options by which the docker client trusts a TLS engine as we do."""
    endpoint = client.endpoint
    if not isinstance(endpoint, TcpEndpoint) or endpoint.tls is None:
        return []
    tls = endpoint.tls
    files = {"--tlscacert": tls.ca, "--tlscert": tls.cert, "--tlskey": tls.key}
    options = ["--tlsverify"] if tls.verify else ["--tls"]
    for option, path in files.items():
        options += [option, str(path)] if path else []
    return options


def _failure(action: BuildImage, output: str, code: int) -> Exception:
    """Read why buildx failed out of what it printed."""
    subject = f"image {action.references[0] if action.references else action.owner.name}"
    error = _ERROR.search(output)
    why = error["text"].removeprefix("failed to solve: ") if error else f"docker buildx ended with exit code {code}"
    found = _FAILED_STEP.search(output)
    step = found["text"] if found else ""
    if _FULL.search(output):
        return Failed(subject, f"the engine's disk is full: {why}", "free space there", output=output)
    if not step.startswith("RUN"):
        for meaning, kind, problem, remedy in _MEANINGS:
            if meaning.search(why):
                return kind(subject, f"{problem}: {why}", remedy)
    return build_failed(action, step=step, why=why, output=output, layer="")
