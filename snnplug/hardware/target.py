"""Hardware targets: found by name or file, described in TOML, every number with its source."""

from __future__ import annotations

import hashlib
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from snnplug.errors import TargetError, did_you_mean
from snnplug.hardware.description import check_provenance, extend, parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from snnplug.hardware.activity import Activity
    from snnplug.hardware.costs import Totals
    from snnplug.hardware.report import EnergyReport

SCHEMA = 1
SCOPES = ("per_term", "all_in")
#: Entry points of this group name targets of other packages.
GROUP = "snnplug.targets"


class Target(ABC):
    """A priced description of hardware; a family of targets is one subclass.

    A subclass is a frozen dataclass whose fields are the keys of its TOML files: plain values in
    the head, dataclasses for tables.
    """

    family: ClassVar[str]
    #: Whether :meth:`totals` takes arrays in place of numbers.
    vectorised: ClassVar[bool] = False
    name: str
    technology_nm: int | None
    scope: str
    summary: str
    statement: str
    provenance: Mapping[str, Mapping[str, str]]

    @abstractmethod
    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference; pure."""

    def totals(self, activity: Activity) -> Totals:
        """Return the totals of :meth:`price` alone.

        In a vectorised family the description may hold arrays in place of numbers; the totals are
        then arrays, each element the same float as the description with its numbers gives.
        """
        return self.price(activity).totals

    @property
    def published_nj(self) -> tuple[float, float] | None:
        """Lowest and highest energy per inference that the source published, if it did."""
        return None

    @property
    def key(self) -> str:
        """The name as it stands in logged keys: ``yin2017-28nm`` → ``yin2017_28nm``."""
        return self.name.replace("-", "_").replace(".", "_")

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any number of the description."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> dict[str, Any]:
        """Return the whole description as plain values, as logged in a run's config."""
        return {"family": self.family, **asdict(cast(Any, self))}  # every family is a dataclass


def _families() -> dict[str, type[Target]]:
    from snnplug.hardware.crossbar import Crossbar
    from snnplug.hardware.cycle_count import CycleCount
    from snnplug.hardware.dense_digital import DenseDigital
    from snnplug.hardware.event_memory import EventMemory
    from snnplug.hardware.per_event import PerEvent
    from snnplug.hardware.sparse_digital import SparseDigital

    kinds: tuple[type[Target], ...] = (
        Crossbar,
        CycleCount,
        DenseDigital,
        EventMemory,
        PerEvent,
        SparseDigital,
    )
    return {kind.family: kind for kind in kinds}


def packaged_targets() -> dict[str, Path]:
    """Return the name and the file of every target that comes with snnplug."""
    folder = Path(__file__).resolve().parent / "targets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def other_targets() -> dict[str, EntryPoint]:
    """Return the name and the entry point of every target that another package brings.

    An entry point of the group ``snnplug.targets`` leads to the path of a TOML file, to a
    :class:`Target`, or to a function without arguments that returns one of them. A packaged name
    keeps its meaning.
    """
    packaged = packaged_targets()
    return {e.name: e for e in entry_points(group=GROUP) if e.name not in packaged}


def load_target(target: str | Path | Target) -> Target:
    """Return a target by its name, or from a TOML file of your own.

    Args:
        target: A name such as ``"yin2017-28nm"``, packaged or of another package, the path of a
            ``.toml`` file, or a target, which is returned as it is.

    Raises:
        TargetError: There is no such target, or its description is not valid: unknown or missing
            key, wrong type, number out of range, or a number without provenance.

    Example:
        >>> load_target("yin2017-28nm").technology_nm
        28
    """
    if isinstance(target, Target):
        return target
    found = _find(str(target))
    return found if isinstance(found, Target) else parse_target(*_content(found))


def _find(name: str, folder: Path | None = None) -> Path | Target:
    """Return the file of a target, or what another package calls one."""
    packaged = packaged_targets()
    if name in packaged:
        return packaged[name]
    others = other_targets()
    if name in others:
        return _from_entry_point(others[name])
    path = (folder or Path()) / name
    if path.suffix == ".toml" and path.is_file():
        return path
    raise TargetError(
        f"no hardware target {name!r}: neither a packaged name nor a .toml file. "
        f"{did_you_mean(name, (*packaged, *others))}"
    )


def _from_entry_point(entry: EntryPoint) -> Path | Target:
    where = f"entry point {entry.name} = {entry.value}"
    try:
        found = entry.load()
        if callable(found) and not isinstance(found, Target):
            found = found()
    except Exception as error:
        raise TargetError(f"{where} cannot be loaded: {error}") from error
    if isinstance(found, Target):
        return found
    if not isinstance(found, str | Path) or not Path(found).is_file():
        raise TargetError(f"{where} leads to {found!r}; it has to be a .toml file or a Target")
    return Path(found)


def _content(path: Path) -> tuple[dict[str, Any], str, Path]:
    """Return what a TOML file says, what errors call it, and the folder that it lies in."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), str(path), path.parent
    except (ValueError, RecursionError) as error:
        raise TargetError(f"{path} is not valid TOML: {error}") from error
    except OSError as error:
        raise TargetError(f"{path} cannot be read: {error.strerror}") from error


def parse_target(
    content: Mapping[str, Any], origin: str = "target", folder: Path | None = None
) -> Target:
    """Return the target that a parsed TOML file describes.

    Args:
        content: The tables and values of the file.
        origin: What errors call it.
        folder: Where the path of an extended file begins; None takes the current folder.

    Raises:
        TargetError: As for :func:`load_target`.
    """
    head = _resolved(content, origin, folder, (origin,))
    family = head.pop("family", None)
    families = _families()
    if not isinstance(family, str) or family not in families:
        raise TargetError(f"{origin}: family is {family!r}. {did_you_mean(str(family), families)}")
    target = parse(families[family], head, origin)
    if target.scope not in SCOPES:
        raise TargetError(
            f"{origin}: scope is {target.scope!r}. {did_you_mean(target.scope, SCOPES)}"
        )
    check_provenance(target, target.provenance, origin)
    return target


def _resolved(
    content: Mapping[str, Any], origin: str, folder: Path | None, chain: tuple[str, ...]
) -> dict[str, Any]:
    """Return a description with what it extends filled in."""
    head = dict(content)
    schema, base = head.pop("schema", None), head.pop("extends", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise TargetError(f"{origin}: schema is {schema!r}; this version reads schema = {SCHEMA}")
    if base is None:
        return head
    if not isinstance(base, str):
        raise TargetError(f"{origin}: extends is {base!r}; it names a target or a .toml file")
    try:
        found = _find(base, folder)
    except TargetError as error:
        raise TargetError(f"{origin}: extends {base!r}: {error}") from error
    if isinstance(found, Target):
        raise TargetError(f"{origin}: extends {base!r}, which is no file that can be extended")
    path = str(found.resolve())
    if path in chain:
        raise TargetError(f"{origin}: extends itself, {' → '.join((*chain, path))}")
    below, name, its_folder = _content(found)
    return extend(_resolved(below, name, its_folder, (*chain, path)), head, origin)
