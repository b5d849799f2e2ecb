"""``snnplug completion bash|zsh``: a script that completes commands, names and usual fields."""

from __future__ import annotations

import re
from collections.abc import Sequence

from snnplug.cli.help import TRAINING_HELP
from snnplug.cli.recipes import packaged_recipes, packaged_sweeps
from snnplug.errors import RecipeError
from snnplug.hardware.target import packaged_targets

# Names are written into the script: completing starts no Python. Where nothing of ours fits, the
# shell completes files. bash takes `--field=value` for three words, zsh for one.
_SCRIPT = """\
_snnplug() {{
    local now="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}"
    local first="${{COMP_WORDS[1]}}" words="" kept=""
    if [[ $now == = ]]; then
        now=""
    elif [[ $before == = ]]; then
        before="${{COMP_WORDS[COMP_CWORD-2]}}"
    elif [[ $now == --*=* ]]; then
        before="${{now%%=*}}" kept="${{now%%=*}}=" now="${{now#*=}}"
    fi
    if [[ $COMP_CWORD -eq 1 ]]; then
        words="{commands}"
    elif [[ $before == -c || $before == --config || $before == --data && $first == estimate ]]; then
        words="{recipes}"
    elif [[ $before == --hardware.target || $before == --target ]]; then
        words="{targets}"
    elif [[ $before == --backend ]]; then
        words="{backends}"
    elif [[ $before == --ckpt_path ]]; then
        words="last"
    elif [[ -n $kept ]]; then
        words=""
    elif [[ $first == recipes ]]; then
        words="ls show cp {recipes} {sweeps}"
    elif [[ $first == targets ]]; then
        words="ls show {targets}"
    elif [[ $first == data ]]; then
        words="ls info pack view"
    elif [[ $first == completion ]]; then
        words="bash zsh"
    elif [[ $first == fit || $first == validate || $first == test || $first == predict ]]; then
        words="{fields}"
    fi
    COMPREPLY=($(compgen -P "$kept" -W "$words" -- "$now"))
}}
complete -o default -F _snnplug snnplug
"""
# bash's own way of completing, which zsh brings along.
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""


def completion_command(args: Sequence[str], commands: Sequence[str]) -> int:
    """Run ``snnplug completion bash|zsh``.

    Args:
        args: What stands behind the command.
        commands: All commands.

    Raises:
        RecipeError: The shell is another one.
    """
    match list(args):
        case ["bash"]:
            print(_script(commands), end="")
        case ["zsh"]:
            print(_ZSH + _script(commands), end="")
        case _:
            given = " ".join(["completion", *args])
            raise RecipeError(f"{given}: usage is completion bash|zsh")
    return 0


def _script(commands: Sequence[str]) -> str:
    return _SCRIPT.format(
        commands=" ".join(commands),
        recipes=" ".join(packaged_recipes()),
        sweeps=" ".join(packaged_sweeps()),
        targets=" ".join(packaged_targets()),
        backends=" ".join(_BACKENDS),
        fields=" ".join(fields_of_help()),
    )


# snnplug.backends knows them, and imports torch; a test compares.
_BACKENDS = ("auto", "compiled", "cuda", "eager", "fused", "ipu", "mps")


def fields_of_help() -> list[str]:
    """Return the options that the help of a training command begins a line with."""
    return re.findall(r"^  (?:-\w, )?(--[\w.-]+\+?)", TRAINING_HELP, re.M)
