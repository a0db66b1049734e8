"""Filters of lists and prunes."""

from __future__ import annotations

import pytest

from declarative.engine.daemon.filters import check_names, flag, labels_allow, labels_match
from declarative.errors import Invalid


def test_labels() -> None:
    labels = {"a": "1", "b": ""}

    assert labels_match([], labels)
    assert labels_match(["a", "a=1", "b", "b="], labels)
    assert not labels_match(["a=2"], labels)
    assert not labels_match(["a", "c"], labels)
    assert labels_allow({"label": ("a",), "label!": ("c", "a=2")}, labels)
    assert not labels_allow({"label!": ("c", "a")}, labels)


def test_flags_and_names() -> None:
    assert flag({}, "dangling", default=True)
    assert flag({"dangling": ("1", "true")}, "dangling", default=False)
    assert not flag({"dangling": ("False",)}, "dangling", default=True)
    for values in (("x",), ("1", "0")):
        with pytest.raises(Invalid, match="invalid filter 'dangling="):
            flag({"dangling": values}, "dangling", default=True)
    with pytest.raises(Invalid, match="invalid filter 'nope'"):
        check_names({"label": (), "nope": ()}, {"label"})
