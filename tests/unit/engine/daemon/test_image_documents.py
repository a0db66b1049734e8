"""Images as the API writes them, for clients of each age."""

from __future__ import annotations

import json
from typing import Any

from declarative.engine.daemon.image_documents import Named, history, inspect, run_config, summary
from declarative.engine.images.image import Image
from declarative.oci.config import parse_config
from declarative.oci.digest import Digest
from declarative.oci.documents import Descriptor
from declarative.oci.reference import Reference

_LAYER = Digest(algorithm="sha256", hex="cd" * 32)
_OLD, _NEW = (1, 41), (1, 47)


def _image(**fields: Any) -> Image:
    document = {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v9",
        "created": "2023-11-14T22:13:20.5Z",
        "author": "me",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "Labels": {"l": "v"}, "ExposedPorts": {"80/tcp": {}}},
        "rootfs": {"type": "layers", "diff_ids": [str(_LAYER)]},
        "history": [
            {"created": "2023-11-14T22:13:20Z", "created_by": "ADD x"},
            {"created": "2023-11-14T22:13:21Z", "created_by": "CMD", "empty_layer": True, "comment": "c"},
        ],
        **fields,
    }
    raw = json.dumps(document).encode()
    described = Descriptor(media_type="", digest=_LAYER, size=3)
    return Image(
        id=Digest.of_bytes(raw), raw=raw, config=parse_config(raw), layers=(described,), manifest=described, size=7
    )


def test_a_row_of_a_list() -> None:
    image = _image()
    tags = (Reference.parse("a:1"),)

    assert summary(Named(image=image, tags=tags, parent=_LAYER), _NEW) == {
        "Id": str(image.id),
        "ParentId": str(_LAYER),
        "RepoTags": ["a:1"],
        "RepoDigests": [],
        "Created": 1_700_000_000,
        "Size": 7,
        "SharedSize": -1,
        "Labels": {"l": "v"},
        "Containers": -1,
    }
    assert summary(Named(image=image, tags=tags), _OLD)["VirtualSize"] == 7


def test_an_image_without_a_name_in_old_words_and_new_ones() -> None:
    named = Named(image=_image())

    assert summary(named, _OLD)["RepoTags"] == ["<none>:<none>"]
    assert summary(named, _OLD)["RepoDigests"] == ["<none>@<none>"]
    assert summary(named, _NEW)["RepoTags"] == summary(named, _NEW)["RepoDigests"] == []


def test_inspecting() -> None:
    image = _image()
    document = inspect(Named(image=image, tagged=1_700_000_000_000_000_000), _NEW, {"Name": "overlayfs", "Data": {}})

    assert document["Id"] == str(image.id)
    assert document["Variant"] == "v9"
    assert document["Comment"] == "c"
    assert document["Config"]["Env"] == ["A=b"]
    assert document["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert document["Config"]["Entrypoint"] is None
    assert document["Metadata"]["LastTagTime"] == "2023-11-14T22:13:20Z"
    assert "ContainerConfig" not in document
    assert "Container" in inspect(Named(image=image), _OLD, {})


def test_an_image_that_says_nothing_of_itself() -> None:
    image = _image(created=None, config=None, history=[], variant="")
    document = inspect(Named(image=image), _NEW, {})

    assert document["Created"] == "0001-01-01T00:00:00Z"
    assert "Variant" not in document
    assert summary(Named(image=image), _NEW)["Created"] == 0
    assert document["Config"] == run_config({})


def test_history_is_newest_first_with_sizes_of_layers_and_ids_of_what_was_built_here() -> None:
    image = _image()
    rows = history(image, [image.id, None], lambda _: ["a:1"], [5])

    assert [(row["Id"], row["CreatedBy"], row["Size"], row["Tags"]) for row in rows] == [
        (str(image.id), "CMD", 0, ["a:1"]),
        ("<missing>", "ADD x", 5, None),
    ]
    assert history(_image(history=[]), [image.id], lambda _: [], [5]) == []
