"""`explain`: every path that there is, and what is said about those that there are not."""

from __future__ import annotations

import pytest

from declarative.errors import Usage
from declarative.manifest.explain import explain, paths


@pytest.mark.parametrize("path", sorted(set(paths())))
def test_every_path_is_explained(path: str) -> None:
    text = explain(path)
    assert text.startswith("KIND:")
    assert text.endswith("\n")
    assert max(map(len, text.splitlines())) < 160


def test_without_a_path_all_kinds_are_listed() -> None:
    assert all(kind in explain() for kind in ("Stack", "Image", "TagScheme", "Container", "Job", "Network", "Volume"))


def test_a_field_is_shown_with_type_default_and_example() -> None:
    assert explain("Container.spec.healthcheck.interval") == (
        "KIND:     Container (declarative/v1)\n"
        "FIELD:    spec.healthcheck.interval <a duration such as 1m30s>\n"
        "\n"
        "  Pause between two probes.\n"
        "\n"
        "DEFAULT:  30s\n"
        "\n"
        "EXAMPLE:\n"
        "  interval: 10s\n"
    )


@pytest.mark.parametrize(
    "path",
    ["container.healthcheck.interval", "Container.healthcheck.interval", "CONTAINER.spec.healthcheck.interval"],
)
def test_the_kind_in_any_case_and_spec_left_out_are_understood(path: str) -> None:
    assert explain(path) == explain("Container.spec.healthcheck.interval")


def test_free_keys_and_list_marks_are_passed_over() -> None:
    assert "Further names" in explain("Container.spec.networks.backend.aliases")
    assert "Port in the container" in explain("Container.spec.ports[].target")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("Contaner", "did you mean `Container`"),
        ("Container.spec.helthcheck", "did you mean `healthcheck`"),
        ("Container.healthcheck.intervall", "did you mean `interval`"),
        ("Container.spec.user.name", "it has no fields"),
        ("Container.", "has no field"),
        (".", "no such kind"),
    ],
)
def test_what_does_not_exist_is_refused_with_a_suggestion(path: str, words: str) -> None:
    with pytest.raises(Usage, match=words):
        explain(path)
