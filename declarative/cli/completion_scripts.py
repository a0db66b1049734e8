"""Writes completion scripts: one function per shell, from the same list of verbs.

The rule that keeps it simple: a script has no logic of its own beyond finding the verb and the option before the cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from declarative.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@record
class Value:
    """What may be completed: fixed `words`, names to `ask` for, or `files`; nothing of these: whatever a person writes."""

    words: tuple[str, ...] = ()
    ask: str = ""
    files: bool = False


@record
class Option:
    """One option. `value` None: it takes none."""

    flags: tuple[str, ...]
    text: str
    value: Value | None
    repeats: bool


@record
class VerbWords:
    """One verb with its options, and what stands behind it."""

    name: str
    text: str
    options: tuple[Option, ...]
    operand: Value


# ---- bash --------------------------------------------------------------------------------------------------------

_BASH_HEAD = """\
# bash completion for declarative
# source <(declarative completion bash)

_declarative_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }

_declarative_files() { compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); }

_declarative_ask() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" __complete "$1" "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur"))
  [[ $1 == fields ]] && compopt -o nospace 2>/dev/null
}

_declarative() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="" word
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -- ]] && return
    [[ -n $verb ]] && continue
    case "$word" in
"""


def bash(verbs: Sequence[VerbWords]) -> str:
    """Write the script for bash 4 and newer; it needs nothing beside bash."""
    names = [verb.name for verb in verbs]
    lines = [_BASH_HEAD.rstrip("\n"), f"      {'|'.join(names)}) verb=$word ;;", "    esac", "  done"]
    lines += ['  case "$verb" in', '    "")']
    lines += _bash_values(_common(verbs))
    lines += [f'      _declarative_words "{" ".join([*names, "--help", "--version"])}"', "      ;;"]
    for verb in verbs:
        lines.append(f"    {verb.name})")
        lines += _bash_values(verb.options)
        flags = " ".join(flag for option in verb.options for flag in option.flags)
        lines.append(f'      [[ $cur == -* ]] && {{ _declarative_words "{flags}"; return; }}')
        lines += [f"      {_bash(verb.operand)}", "      ;;"]
    return "\n".join([*lines, "  esac", "}", "", "complete -F _declarative declarative"]) + "\n"


def _bash_values(options: Iterable[Option]) -> list[str]:
    cases = [
        f"        {'|'.join(option.flags)}) {_bash(option.value)}; return ;;"
        for option in options
        if option.value is not None
    ]
    return ['      case "$prev" in', *cases, "      esac"]


def _bash(value: Value) -> str:
    if value.ask:
        return f"_declarative_ask {value.ask}"
    if value.files:
        return "_declarative_files"
    return f'_declarative_words "{" ".join(value.words)}"' if value.words else ":"


def _common(verbs: Sequence[VerbWords]) -> tuple[Option, ...]:
    """Give the options that may stand before the verb: those of the first verb, which has them all."""
    return tuple(option for option in verbs[0].options if option.value is not None)


# ---- zsh ---------------------------------------------------------------------------------------------------------

_ZSH_HEAD = """\
#compdef declarative
# zsh completion for declarative

_declarative_ask() {
  local -a found
  found=(${(f)"$(declarative __complete $1 "${(@)words[1,CURRENT]}" 2>/dev/null)"})
  [[ $1 == fields ]] && compadd -S '' -a found || compadd -a found
}

_declarative() {
  local curcontext="$curcontext" state line ret=1
  local -a verbs
  _arguments -C '(- *)--help[show the verbs]' '1:verb:->verb' '*::argument:->rest' && return 0
  case $state in
    verb)
      verbs=(
"""


def zsh(verbs: Sequence[VerbWords]) -> str:
    """Write the function for zsh's own completion system."""
    lines = [_ZSH_HEAD.rstrip("\n")]
    lines += [f"        '{verb.name}:{_zsh_text(verb.text)}'" for verb in verbs]
    lines += ["      )", "      _describe verb verbs && ret=0", "      ;;", "    rest)", "      case $line[1] in"]
    for verb in verbs:
        specs = [_zsh_option(option) for option in verb.options]
        specs += [f"'*:name:{_zsh(verb.operand)}'"] if verb.operand != Value() else []
        lines += [f"        {verb.name})", "          _arguments -S \\"]
        lines += [f"            {spec} \\" for spec in specs]
        lines += ["            && ret=0", "          ;;"]
    lines += ["      esac", "      ;;", "  esac", "  return ret", "}", "", '_declarative "$@"']
    return "\n".join(lines) + "\n"


def _zsh_option(option: Option) -> str:
    star = "*" if option.repeats else f"({' '.join(option.flags)})" if len(option.flags) > 1 else ""
    flags = f"{{{','.join(option.flags)}}}" if len(option.flags) > 1 else option.flags[0]
    value = f":value:{_zsh(option.value)}" if option.value is not None else ""
    return f"'{star}'{flags}'[{_zsh_text(option.text)}]{value}'"


def _zsh(value: Value) -> str:
    if value.ask:
        return f" _declarative_ask {value.ask}"  # the blank: _arguments adds no words of its own
    if value.files:
        return "_files"
    return f"({' '.join(value.words)})" if value.words else " "


def _zsh_text(text: str) -> str:
    text = text.replace("\\", "\\\\").replace("'", "'\\''")
    for mark in "[]:":
        text = text.replace(mark, f"\\{mark}")
    return text


# ---- fish --------------------------------------------------------------------------------------------------------

_FISH_HEAD = """\
# fish completion for declarative

function __declarative_ask
    set -l words (commandline -opc)
    declarative __complete $argv[1] $words[2..-1] (commandline -ct) 2>/dev/null
end

complete -c declarative -f
"""


def fish(verbs: Sequence[VerbWords]) -> str:
    """Write the script for fish 3 and newer."""
    lines = [_FISH_HEAD.rstrip("\n")]
    use = "complete -c declarative -n __fish_use_subcommand"
    lines += [f"{use} -a {verb.name} -d {_fish_text(verb.text)}" for verb in verbs]
    for verb in verbs:
        head = f"complete -c declarative -n '__fish_seen_subcommand_from {verb.name}'"
        lines += [f"{head} {_fish_option(option)}" for option in verb.options]
        if operand := _fish(verb.operand):
            lines.append(f"{head} {operand}")
    return "\n".join(lines) + "\n"


def _fish_option(option: Option) -> str:
    words = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    if option.value is not None:
        words.append("-r" if option.value.files else "-x")
        words += [_fish(option.value)] if _fish(option.value) else []
    return " ".join([*words, "-d", _fish_text(option.text)])


def _fish(value: Value) -> str:
    if value.ask:
        return f"-a '(__declarative_ask {value.ask})'"
    if value.files:
        return "-F"
    return f"-a '{' '.join(value.words)}'" if value.words else ""


def _fish_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
