"""Makes the script that completes a command's options in bash and zsh.

The script holds all words, so that no interpreter starts when a key is pressed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping


def completion_script(
    program: str, options: Iterable[str], values: Mapping[str, Iterable[str]], by_python: bool
) -> str:
    """Return a script that completes ``program``'s options, and the ``values`` of those that have known ones.

    Where no option fits, file names are completed. ``by_python``: the program is a script for ``python`` or
    fake-torchrun.
    """
    name = _function(program)
    cases = [f"        {option}) words={shlex.quote(' '.join(known))} ;;" for option, known in values.items()]
    lines = [
        '[ -n "$ZSH_VERSION" ] && autoload -U +X bashcompinit && bashcompinit',
        f"{name}() {{",
        '    local word="${COMP_WORDS[COMP_CWORD]}" words= each',
        *([] if by_python else _completed_by_script()),
        '    case "${COMP_WORDS[COMP_CWORD-1]}" in',
        *cases,
        f'        *) [ "${{word#-}}" = "$word" ] || words={shlex.quote(" ".join(options))} ;;',
        "    esac",
        '    COMPREPLY=($(compgen -W "$words" -- "$word"))',
        "}",
        f"complete -o default -F {name} {shlex.quote(program)}",
        *(_completed_by_python(name, program) if by_python else []),
    ]
    return "\n".join(lines) + "\n"


def _function(program: str) -> str:
    return "_complete_" + re.sub(r"\W", "_", program)


def _completed_by_script() -> list[str]:
    """Return lines that complete the words after a script by the script's own completion, if that is loaded."""
    return [
        '    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        '        case "$each" in *.py)',
        '            each="_complete_$(basename "$each" | tr -c "[:alnum:]_\\n" _)"',
        '            COMPREPLY=(); if type "$each" >/dev/null 2>&1; then "$each"; fi; return ;;',
        "        esac",
        "    done",
    ]


def _completed_by_python(name: str, program: str) -> list[str]:
    """Return lines that complete ``python`` with the script, unless another completion of ``python`` is loaded."""
    return [
        f'{name}_by_python() {{ COMPREPLY=(); case "${{COMP_WORDS[1]}}" in {program}|*/{program}) {name} ;; esac; }}',
        f"complete -p python >/dev/null 2>&1 || complete -o default -F {name}_by_python python python3",
    ]
