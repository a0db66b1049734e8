"""Conformance cases are found where they are, and one that is nowhere is an error that says where it was looked for."""

from __future__ import annotations

import pytest

from tests.shared_cases import cases, load_cases


def test_a_case_file_is_found_and_read() -> None:
    assert cases("semver").is_dir()
    assert load_cases("units/go-units.json")["_count"] > 0


def test_a_case_that_is_nowhere_names_the_places() -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no conformance cases nowhere\.json: neither in .*shared/cases nor in .*tests/cases"
    ):
        cases("nowhere.json")
