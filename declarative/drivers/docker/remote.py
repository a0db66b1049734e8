"""What registries hold and what is changed there: tags of whole repositories, and single tags.

The rule: a few threads ask, each answer is awaited, and the first error is raised: nothing is ever left out. Contents are pushed
through the engine; here only manifests move.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from declarative.core.state import RemoteTag
from declarative.dockerapi.wire import quote_name
from declarative.drivers.docker.image_read import familiar
from declarative.errors import DeclarativeError, Failed, Invalid, NotFound, Unsupported
from declarative.oci.documents import Manifest, parse_document
from declarative.oci.node import DOCUMENT_MAX
from declarative.oci.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from declarative.core.actions import RetagRemote, UntagRemote
    from declarative.dockerapi.client import EngineClient
    from declarative.dockerapi.wire import Json
    from declarative.oci.digest import Digest
    from declarative.oci.documents import Descriptor
    from declarative.registry.client import RegistryClient, StoredManifest

    Registries = Callable[[str], RegistryClient]

T = TypeVar("T")
U = TypeVar("U")

WORKERS = 8


def is_insecure(info: Json, domain: str) -> bool:
    """Tell whether an engine, by its `/info`, speaks to a registry without TLS or with any certificate: so do we then.

    By its name, else by a block of addresses. dockerd looks a name's address up for that; we would do it from another machine.
    """
    config = info.get("RegistryConfig") or {}
    named = (config.get("IndexConfigs") or {}).get(domain)
    if named is not None:
        return named.get("Secure") is False
    try:
        address = ipaddress.ip_address(urlsplit(f"//{domain}").hostname or "")
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(block) for block in config.get("InsecureRegistryCIDRs") or ())


def tags_of(registries: Registries, repositories: Iterable[str]) -> dict[str, dict[str, RemoteTag]]:
    """Read every tag of `repositories` (familiar names)."""
    return {repository: _repository(registries, repository) for repository in sorted(repositories)}


def _repository(registries: Registries, repository: str) -> dict[str, RemoteTag]:
    reference = Reference.parse(repository).bare
    client = registries(reference.domain)
    tags = client.tags(reference.path)
    found = side_by_side(lambda tag: _manifest(client, reference.with_tag(tag)), tags)
    configs: dict[Digest, tuple[dict[str, str], str]] = {}

    def read_config(config: Descriptor) -> None:
        configs[config.digest] = _labels_and_platform(client, reference.path, config)

    parsed = {tag: _config_of(stored, repository) for tag, stored in zip(tags, found, strict=True) if stored}
    side_by_side(read_config, {config.digest: config for config in parsed.values() if config is not None}.values())
    return {tag: _remote_tag(stored, parsed[tag], configs) for tag, stored in zip(tags, found, strict=True) if stored}


def _remote_tag(
    stored: StoredManifest, config: Descriptor | None, configs: Mapping[Digest, tuple[dict[str, str], str]]
) -> RemoteTag:
    if config is None:
        return RemoteTag(digest=str(stored.digest))
    labels, platform = configs[config.digest]
    return RemoteTag(digest=str(stored.digest), image_id=str(config.digest), labels=labels, platform=platform)


def _manifest(client: RegistryClient, reference: Reference) -> StoredManifest | None:
    """Fetch a tag's manifest; None where the tag was removed since it was listed."""
    try:
        return client.manifest(reference)
    except NotFound:
        return None


def _config_of(stored: StoredManifest, subject: str) -> Descriptor | None:
    document = parse_document(stored.content, stored.media_type, subject)
    return document.config if isinstance(document, Manifest) else None


def _labels_and_platform(client: RegistryClient, path: str, config: Descriptor) -> tuple[dict[str, str], str]:
    if config.size > DOCUMENT_MAX:  # an artifact that is no image; its tag still counts
        return {}, ""
    content = b"".join(client.open_blob(path, config.digest, size=config.size))
    try:
        document = json.loads(content)
        labels = (document.get("config") or {}).get("Labels") or {}
        system, architecture = document.get("os"), document.get("architecture")
        platform = f"{system}/{architecture}" if system and architecture else ""
        return {str(name): str(value) for name, value in labels.items()}, platform
    except (ValueError, AttributeError, RecursionError):  # no image either
        return {}, ""


def side_by_side(function: Callable[[T], U], items: Iterable[T]) -> list[U]:
    """Call `function` for all items, a few at a time; results in their order, or the first error."""
    todo = list(enumerate(items))
    results: dict[int, U] = {}
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                index, item = todo.pop(0)
            except IndexError:
                return
            try:
                results[index] = function(item)
            except BaseException as error:  # noqa: BLE001 - it is raised again below, in the caller's thread
                errors.append(error)

    count = len(todo)
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(WORKERS, count) - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[index] for index in range(count)]


def latest(client: EngineClient, auth: Callable[[str], str], references: Iterable[str]) -> Mapping[str, str]:
    """Ask, through the engine, which digest the registry has now; a reference that it does not have is left out."""
    names = sorted(references)
    digests = side_by_side(lambda name: _latest(client, auth, name), names)
    return {familiar(name): digest for name, digest in zip(names, digests, strict=True) if digest}


def _latest(client: EngineClient, auth: Callable[[str], str], name: str) -> str:
    reference = Reference.parse(name).addressed()
    headers = {"X-Registry-Auth": auth(reference.domain)}
    path = f"/distribution/{quote_name(reference.canonical())}/json"
    try:
        document = json.loads(client.request("GET", path, headers=headers, patient=True).read())
    except NotFound:
        return ""
    return str(document["Descriptor"]["digest"])


def retag(registries: Registries, action: RetagRemote) -> None:
    """Let a tag point to the manifest that another one has now."""
    reference = Reference.parse(action.repository).bare
    client = registries(reference.domain)
    stored = client.manifest(reference.with_tag(action.source))
    client.put_manifest(reference.path, action.tag, stored.media_type, stored.content)


def untag(registries: Registries, action: UntagRemote) -> None:
    """Remove a tag and nothing else. Registries that remove by digest alone are given an empty manifest to remove."""
    reference = Reference.parse(action.repository).bare
    client = registries(reference.domain)
    try:
        client.delete_manifest(reference.path, action.tag)
    except (Unsupported, Invalid, Failed) as refusal:
        _replace_and_delete(client, reference.with_tag(action.tag), refusal)


def _replace_and_delete(client: RegistryClient, reference: Reference, refusal: Exception) -> None:
    from declarative.oci.digest import Digest

    try:
        before = client.manifest(reference)
    except NotFound:
        return
    empty = b"{}"
    config = Digest.of_bytes(empty)
    if not client.blob_exists(reference.path, config):
        client.upload_blob(reference.path, config, lambda offset: iter([empty[offset:]]), size=len(empty))
    media = "application/vnd.docker.distribution.manifest.v2+json"
    descriptor = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": str(config)}
    document = {"schemaVersion": 2, "mediaType": media, "config": descriptor, "layers": []}
    content = json.dumps(document | {"annotations": {"declarative.removed": str(reference.tag)}}).encode()
    digest = client.put_manifest(reference.path, str(reference.tag), media, content)
    try:
        client.delete_manifest(reference.path, digest)
    except DeclarativeError:
        client.put_manifest(reference.path, str(reference.tag), before.media_type, before.content)
        raise refusal from None
