"""The program as a user has it: installed by `pip install .`, where the tests' environment has it editable.

An editable installation finds the package by an import hook that costs every start 16 ms, a third of `--help`.

The rule that keeps it simple: nothing is downloaded or built. The package is copied and compiled, the command is written as pip
writes it, and what it depends on is found where the tests have it.
"""

from __future__ import annotations

import compileall
import shutil
import sysconfig
import tomllib
import venv
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {function}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({function}())
"""


def program(folder: Path) -> Path:
    """Give the command of the installation in `folder`, which is made where it is not there yet."""
    command = folder / "bin/declarative"
    if command.exists():
        return command
    venv.create(folder, symlinks=True)
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    shutil.copytree(_ROOT / "declarative", purelib / "declarative", ignore=shutil.ignore_patterns("__pycache__"))
    (purelib / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    compileall.compile_dir(purelib / "declarative", quiet=1)
    entry = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["scripts"]["declarative"]
    module, function = entry.split(":")
    command.write_text(_COMMAND.format(python=folder / "bin/python3", module=module, function=function))
    command.chmod(0o755)
    return command
