"""Lines of pull, push and load, as Docker's clients read them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from declarative.engine.daemon.progress import Held, bar, line
from declarative.engine.images.progress import Progress, Pushed, Said
from declarative.oci.digest import Digest

_DIGEST = Digest(algorithm="sha256", hex="ab" * 32)


def _document(encoded: bytes) -> Any:
    assert encoded.endswith(b"\r\n")
    assert encoded.count(b"\n") == 1
    return json.loads(encoded)


def test_lines() -> None:
    assert _document(line(Progress(status="Digest: x"))) == {"status": "Digest: x"}
    assert _document(line(Progress(status="Pull complete", id="ab"))) == {
        "status": "Pull complete",
        "progressDetail": {},
        "id": "ab",
    }
    assert _document(line(Progress(status="Downloading", id="ab", current=500, total=1000))) == {
        "status": "Downloading",
        "progressDetail": {"current": 500, "total": 1000},
        "progress": "[=========================>                         ]     500B/1kB",
        "id": "ab",
    }
    assert _document(line(Pushed(tag="1", digest=_DIGEST, size=5)))["aux"] == {
        "Tag": "1",
        "Digest": str(_DIGEST),
        "Size": 5,
    }
    assert _document(line(Said(text="Loaded image: a\u2028b"))) == {"stream": "Loaded image: a\u2028b\n"}
    assert _document(line(Said(text="half \udcff"))) == {"stream": "half ?\n"}


@given(st.integers(0, 2**50), st.integers(0, 2**50))
def test_a_bar_is_drawn_for_any_count(current: int, total: int) -> None:
    drawn = bar(current, total)

    if total > 0 and current <= total:
        assert drawn.index("]") == 52
    else:
        assert "[" not in drawn


def test_the_first_line_is_kept_back_until_there_is_another() -> None:
    sent: list[bytes] = []
    tell = Held(sent.append)
    tell(Progress(status="first"))
    assert sent == []
    tell(Progress(status="second"))
    tell(Progress(status="third"))
    assert [_document(one)["status"] for one in sent] == ["first", "second", "third"]

    alone: list[bytes] = []
    tell = Held(alone.append)
    tell(Progress(status="only"))
    tell.flush()
    tell.flush()
    assert len(alone) == 1
