"""Where the conformance cases are: beside the checkout (`../shared/cases`), or the few copied into `tests/cases`.

The rule that keeps it simple: one function; a case that is nowhere fails the test and says where it was looked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_PLACES = (_HERE.parent.parent / "shared" / "cases", _HERE / "cases")


def cases(name: str) -> Path:
    """Find the file or folder of that name, such as `semver/order.json`. FileNotFoundError that names the places."""
    for place in _PLACES:
        if (place / name).exists():
            return place / name
    looked_in = " nor in ".join(map(str, _PLACES))
    msg = f"no conformance cases {name}: neither in {looked_in}; check out `shared` beside the repository"
    raise FileNotFoundError(msg)


def reference(name: str) -> Path:
    """Find a published specification, such as `docker-engine-api-v1.47.yaml`. FileNotFoundError where `shared` is not there."""
    found = _HERE.parent.parent / "shared" / "reference" / name
    if not found.exists():
        msg = f"no specification {found}; check out `shared` beside the repository"
        raise FileNotFoundError(msg)
    return found


def load_cases(name: str) -> Any:
    """Decode the JSON of a case file. ValueError where it is not JSON."""
    return json.loads(cases(name).read_text(encoding="utf-8"))
