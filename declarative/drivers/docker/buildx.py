"""Building with BuildKit: `docker buildx build` against the same engine, read line by line.

The rule: the builder runs inside the engine (builder `default`, driver docker), so that what it builds is there at once; secrets
reach it through the environment, never through a file or an argument.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from declarative.dockerapi.transport import SshEndpoint, TcpEndpoint, UnixEndpoint
from declarative.drivers.docker.build import build_failed
from declarative.drivers.port import Progress
from declarative.errors import Denied, Failed, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from declarative.core.actions import BuildImage
    from declarative.core.resources import BuildSource
    from declarative.dockerapi.client import EngineClient
    from declarative.drivers.docker.images import Report

_FAILED_STEP = re.compile(r"^ > \[(?P<where>[^\]]*)\] (?P<text>.*?):?$", re.MULTILINE)
_FAILED_LINE = re.compile(r"^(?:\S*[Dd]ockerfile\S*|\S+):(?P<line>\d+)\n-{10,}$", re.MULTILINE)
_ERROR = re.compile(r"^ERROR: (?P<text>.*)$", re.MULTILINE)
_STAMP = re.compile(r"^#\d+ (?:\d+\.\d+ )?")
_DENIED = re.compile(
    r"authorization failed|insufficient_scope|401 unauthorized|403 forbidden|unauthorized", re.IGNORECASE
)
_ABSENT = re.compile(r"manifest unknown|: not found$", re.IGNORECASE)
_NO_ANSWER = re.compile(
    r"i/o timeout|connection refused|connection reset|no such host|unexpected status: 5\d\d|429", re.IGNORECASE
)
_FULL = re.compile(r"no space left on device", re.IGNORECASE)


def build(
    client: EngineClient, action: BuildImage, labels: Mapping[str, str], environment: Mapping[str, str], report: Report
) -> None:
    """Build and load. `environment` is what the docker client shall run with; the engine's address is added here."""
    import subprocess

    source = action.source
    env = {**environment, **engine_environment(client), **_secret_environment(source)}
    env["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    process = subprocess.Popen(
        ["docker", *engine_options(client), *arguments(source, action.references, labels)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=env,
        start_new_session=True,  # Ctrl-C is ours to handle, for every step alike
    )
    output: list[str] = []
    try:
        if process.stdin is not None:
            process.stdin.write(source.dockerfile_inline.encode())
            process.stdin.close()
        for raw in process.stderr or ():
            line = raw.decode("utf-8", "replace")
            output.append(line)
            if text := line.rstrip("\n"):
                report(Progress(text=text))
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        if process.stderr is not None:
            process.stderr.close()
    if code != 0:
        raise _failure(action, "".join(output), code)


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
    return [*found, "--file", source.dockerfile or "-", source.context]


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
    why = error["text"] if error else f"docker buildx ended with exit code {code}"
    step = _FAILED_STEP.search(output)
    line = _FAILED_LINE.search(output)
    if _FULL.search(output):
        return Failed(subject, f"the engine's disk is full: {why}", "free space there", output=output)
    if step is None or "RUN" not in step["text"]:
        if _DENIED.search(why):
            return Denied(subject, f"the registry refuses access: {why}", "log in with `docker login`")
        if _NO_ANSWER.search(why):
            return Unavailable(subject, f"the engine could not reach the registry: {why}", "run again")
        if step is not None and "FROM" in step["text"] and _ABSENT.search(why):
            return NotFound(subject, f"the base image is not there: {why}", "check its name and tag")
    return build_failed(
        action,
        step=step["text"] if step else "",
        line=int(line["line"]) if line else 0,
        why=why,
        output=output,
        layer="",
    )
