"""The parser of recipes: an error ends with the nearest thing that would have been right."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser


class RecipeParser(LightningArgumentParser):
    """LightningCLI's parser, which says what was probably meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message, then the suggestion, and exit with 2."""
        parser = getattr(ex, "subcommand_parser", None) or self
        chosen = [action for _, action in _subcommands(self)]  # only the one that runs is built
        options = {
            option.removeprefix("--").removesuffix(".help")
            for each in (parser, *chosen)
            for option in each._option_string_actions
        }
        hint = suggestion(message, options)
        super().error(f"{message}\n{hint}" if hint else message, ex)


def _subcommands(parser: LightningArgumentParser) -> Iterator[tuple[str, LightningArgumentParser]]:
    action = getattr(parser, "_subcommands_action", None)
    yield from (getattr(action, "_name_parser_map", None) or {}).items()


def suggestion(message: str, options: Iterable[str]) -> str:
    """Return what the user probably meant, as a sentence; empty if nothing is near.

    Args:
        message: A parser's error.
        options: The fields that a command line may name, without dashes.

    Example:
        >>> suggestion("unrecognized arguments: --trainer.max_epochss=3", ["trainer.max_epochs"])
        'Did you mean --trainer.max_epochs?'
    """
    if found := re.search(r"unrecognized arguments: --([\w.]+)", message):
        return _nearest(found[1], options, "--")
    if found := re.search(r"(?:Key|accept option) '([\w.]+)'", message):
        return _nearest(found[1], options, "")
    if found := re.search(r"Option '(\w+)' is not accepted", message):
        owner = re.search(r"class_path(?:=| )'([\w.]+)'", message)
        return _nearest(found[1], _arguments(owner[1]) if owner else (), "")
    if found := re.search(r"Expected a dot import path string: (\w+)$", message, re.M):
        return _nearest(found[1], _short_names(), "")
    return ""


def _nearest(name: str, options: Iterable[str], prefix: str) -> str:
    near = get_close_matches(name, sorted(options), n=1)
    return f"Did you mean {prefix}{near[0]}?" if near else ""


def _arguments(class_path: str) -> list[str]:
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []


def _short_names() -> set[str]:
    """Return the names of all classes of ours that a recipe may name."""
    return {
        name
        for path, module in list(sys.modules.items())
        if path.startswith("snnplug.")
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == path and not name.startswith("_")
    }
