"""A recipe as a call: what ``snnplug fit -c NAME`` does, from Python."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnplug.cli.recipes import resolve_configs
from snnplug.errors import ArgumentError, RecipeError, did_you_mean

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_COMMANDS = ("fit", "validate", "test", "predict")


def launch(
    command: str, *recipes: str | Path, overrides: Mapping[str, Any] | None = None
) -> Trainer:
    """Run a recipe, as ``snnplug COMMAND -c RECIPE --FIELD VALUE`` does, and return its trainer.

    The same code runs on the same numbers: weights, figures and files are those of the command, bit
    for bit. The trainer holds the network (``trainer.lightning_module.network``), all that was
    logged (``trainer.callback_metrics``) and the callbacks with the bill
    (``trainer.callbacks``).

    Args:
        command: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        *recipes: Names of packaged recipes or files; later ones win over earlier.
        overrides: Field and value, such as ``{"trainer.max_epochs": 3}``; the last word. Values are
            what JSON knows: numbers, text, truth, None, lists and dictionaries. ``"ckpt_path"``
            goes on with a run.

    Raises:
        RecipeError: No such recipe, command or field, or a value that a field does not take.
        ArgumentError: An override's value is an object that a recipe cannot hold.

    Example:
        >>> import snnplug as sp
        >>> trainer = sp.launch("fit", "quickstart", overrides={"trainer.max_epochs": 3})
        ... # doctest: +SKIP
        >>> trainer.callback_metrics["test/acc"]                              # doctest: +SKIP
        tensor(0.9053)
    """
    if command not in _COMMANDS:
        raise RecipeError(f"no command {command!r}. {did_you_mean(command, _COMMANDS)}")
    given = [word for recipe in recipes for word in ("-c", str(recipe))]
    options = [f"--{field}={_text(field, value)}" for field, value in (overrides or {}).items()]
    args = [command, *resolve_configs(given), *options]
    from argparse import ArgumentError as ParserError

    from snnplug.cli.training import run

    with warnings.catch_warnings():  # those that a run holds back are the caller's again after it
        try:
            return run(args, exit_on_error=False)
        except ParserError as error:
            raise RecipeError(str(error)) from error


def _text(field: str, value: Any) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, str | Path):
        return str(value)
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{field} is {value!r}; give a number, text, a truth value, None, or a list or "
            "dictionary of them: a recipe holds nothing else. A class is named by its path"
        ) from error
