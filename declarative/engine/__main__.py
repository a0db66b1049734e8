"""`python -m declarative.engine`: the daemon's process."""

from __future__ import annotations

import sys

from declarative.engine.daemon.main import main

if __name__ == "__main__":
    sys.exit(main())
