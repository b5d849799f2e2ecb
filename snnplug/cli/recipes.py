"""Packaged recipes: found by name, listed, printed, copied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from snnplug.errors import RecipeError, did_you_mean


def recipes_folder() -> Path:
    """Return where the recipes lie: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def packaged_recipes() -> dict[str, Path]:
    """Return the name and the file of every recipe that comes with snnplug."""
    return {path.stem: path for path in sorted(recipes_folder().glob("*.yaml"))}


def packaged_sweeps() -> dict[str, Path]:
    """Return the name, ``sweeps/NAME``, and the file of every sweep that comes with snnplug."""
    folder = recipes_folder() / "sweeps"
    return {f"sweeps/{path.stem}": path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the file of a packaged recipe.

    Raises:
        RecipeError: There is none of that name.
    """
    packaged = packaged_recipes()
    if name not in packaged:
        raise RecipeError(f"no recipe {name!r}. {did_you_mean(name, packaged)}")
    return packaged[name]


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Replace the names after ``-c`` and ``--config`` by the files that they mean.

    Raises:
        RecipeError: A name is neither a file nor a packaged recipe.
    """
    resolved = []
    expects_name = False
    for arg in args:
        flag, equals, value = arg.partition("=")
        if expects_name:
            arg = _config_file(arg)
        elif equals and flag in ("-c", "--config"):
            arg = f"--config={_config_file(value)}"
        expects_name = not expects_name and arg in ("-c", "--config")
        resolved.append("--config" if arg == "-c" else arg)
    return resolved


def _config_file(name: str) -> str:
    if Path(name).is_file():
        return name
    if os.sep in name or name.endswith((".yaml", ".yml")):
        raise RecipeError(f"no recipe file {name}; packaged recipes are named without a path")
    return str(find_recipe(name))


def header(path: Path) -> list[str]:
    """Return the comment that a recipe begins with, without its signs."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return lines


def recipes_command(args: Sequence[str]) -> int:
    """Run ``snnplug recipes [ls|show NAME|cp NAME FILE]``."""
    match list(args):
        case [] | ["ls"]:
            for name, path in (packaged_recipes() | packaged_sweeps()).items():
                print(f"{name:<27} {header(path)[0]}")
        case ["show", name]:
            print(_find(name).read_text(encoding="utf-8"), end="")
        case ["cp", name, destination]:
            print(_copy(_find(name), Path(destination)))
        case _:
            raise RecipeError(
                f"recipes {' '.join(args)}: usage is recipes [ls | show NAME | cp NAME FILE]"
            )
    return 0


def _find(name: str) -> Path:
    """Return the file of a packaged recipe or sweep."""
    return packaged_sweeps().get(name) or find_recipe(name)


def _copy(source: Path, destination: Path) -> Path:
    target = destination / source.name if destination.is_dir() else destination
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise RecipeError(f"{target} exists already; choose another name") from error
    except OSError as error:
        raise RecipeError(f"cannot write {target}: {error.strerror}") from error
    return target
