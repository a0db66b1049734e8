"""The table of verbs: what `declarative` can do, in the order in which `--help` shows it.

A verb is one line here and one file beside this one, which has three names:

    HELP: str                                     a sentence or more, shown by `declarative VERB --help`
    def add_arguments(parser: Parser) -> None     its options; `options.add_common` and friends give the shared ones
    def run(args: Args, context: Context) -> int  the work; returns the exit code, raises errors of `declarative.errors`

The rule that keeps it simple: this file imports nothing, so that `declarative --help` costs nothing.
"""

from __future__ import annotations

VERBS: dict[str, str] = {
    "apply": "make the engine hold what the manifests ask for",
    "plan": "show what apply would do",
    "drift": "find what differs from what was last applied; changes nothing (for cron)",
    "status": "show what runs",
    "destroy": "remove everything that the stack owns",
    "validate": "check manifests",
    "render": "print manifests with every template filled in",
    "explain": "describe a field: declarative explain Container.spec.ports",
    "schema": "print the JSON Schema of manifests or of an output",
    "graph": "draw what depends on what",
    "build": "build the images that need it",
    "tags": "show where every tag points, and where it will",
    "logs": "print the output of containers",
    "exec": "run a command in a container",
    "rollout": "undo, or look at, the last apply",
    "history": "list what was applied when",
    "engine": "show or serve the engine",
    "doctor": "check this machine and the engine",
    "init": "write a first manifest",
    "version": "print the version",
    "completion": "print the completion script of a shell",
}

HIDDEN: dict[str, str] = {"__complete": "complete"}
"""Verbs that programs call and no list shows, with the file of each."""
