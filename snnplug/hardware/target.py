"""Hardware targets: found by name or file, described in TOML, every number with its source."""

from __future__ import annotations

import hashlib
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, get_type_hints

from snnplug.errors import TargetError, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from snnplug.hardware.activity import Activity
    from snnplug.hardware.report import EnergyReport

SCHEMA = 1
EVIDENCE = ("measured", "published", "simulated", "derived", "assumed")
SCOPES = ("per_term", "all_in")
_T = TypeVar("_T")


class Target(ABC):
    """A priced description of hardware; a family of targets is one subclass.

    A subclass is a frozen dataclass whose fields are the keys of its TOML files: plain values in
    the head, dataclasses for tables.
    """

    family: ClassVar[str]
    name: str
    technology_nm: int
    scope: str
    summary: str
    statement: str
    provenance: Mapping[str, Mapping[str, str]]

    @abstractmethod
    def price(self, activity: Activity) -> EnergyReport:
        """Return what the activity costs per inference; pure."""

    @property
    def published_nj(self) -> tuple[float, float] | None:
        """Lowest and highest energy per inference that the source published, if it did."""
        return None

    @property
    def key(self) -> str:
        """The name as it stands in logged keys: ``yin2017-28nm`` → ``yin2017_28nm``."""
        return self.name.replace("-", "_").replace(".", "_")

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with any number of the description."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> dict[str, Any]:
        """Return the whole description as plain values, as logged in a run's config."""
        return {"family": self.family, **asdict(cast(Any, self))}  # every family is a dataclass


def _families() -> dict[str, type[Target]]:
    from snnplug.hardware.per_event import PerEvent
    from snnplug.hardware.sparse_digital import SparseDigital

    return {PerEvent.family: PerEvent, SparseDigital.family: SparseDigital}


def packaged_targets() -> dict[str, Path]:
    """Return the name and the file of every target that comes with snnplug."""
    folder = Path(__file__).resolve().parent / "targets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_target(target: str | Path | Target) -> Target:
    """Return a target by its name, or from a TOML file of your own.

    Args:
        target: A packaged name such as ``"yin2017-28nm"``, the path of a ``.toml`` file, or a
            target, which is returned as it is.

    Raises:
        TargetError: There is no such target, or its description is not valid: unknown or missing
            key, wrong type, number out of range, or a number without provenance.

    Example:
        >>> load_target("yin2017-28nm").technology_nm
        28
    """
    if isinstance(target, Target):
        return target
    packaged = packaged_targets()
    path = packaged.get(str(target), Path(target))
    if path.suffix != ".toml" or not path.is_file():
        raise TargetError(
            f"no hardware target {str(target)!r}: neither a packaged name nor a .toml file. "
            f"{did_you_mean(str(target), packaged)}"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise TargetError(f"{path} is not valid TOML: {error}") from error
    return parse_target(content, origin=str(path))


def parse_target(content: Mapping[str, Any], origin: str = "target") -> Target:
    """Return the target that a parsed TOML file describes.

    Args:
        content: The tables and values of the file.
        origin: What errors call it.

    Raises:
        TargetError: As for :func:`load_target`.
    """
    head = dict(content)
    schema, family = head.pop("schema", None), head.pop("family", None)
    if schema != SCHEMA or isinstance(schema, bool):
        raise TargetError(f"{origin}: schema is {schema!r}; this version reads schema = {SCHEMA}")
    families = _families()
    if not isinstance(family, str) or family not in families:
        raise TargetError(f"{origin}: family is {family!r}. {did_you_mean(str(family), families)}")
    target = _parse(families[family], head, origin, "")
    if target.scope not in SCOPES:
        raise TargetError(
            f"{origin}: scope is {target.scope!r}. {did_you_mean(target.scope, SCOPES)}"
        )
    _check_provenance(target, origin)
    return target


def _parse(kind: type[_T], table: Mapping[str, Any], origin: str, prefix: str) -> _T:
    """Build the dataclass ``kind`` from a table, naming every key that does not fit."""
    hints = get_type_hints(kind)
    wanted = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in table:
        if key not in wanted:
            raise TargetError(f"{origin}: unknown key {prefix}{key}. {did_you_mean(key, wanted)}")
    required = [f.name for f in fields(kind) if f.default is MISSING]  # type: ignore[arg-type]
    missing = [prefix + name for name in required if name not in table]
    if missing:
        raise TargetError(f"{origin}: missing {', '.join(missing)}")
    given = [name for name in wanted if name in table]
    values = {name: _value(hints[name], table[name], origin, prefix + name) for name in given}
    try:
        return kind(**values)
    except TargetError as error:
        raise TargetError(f"{origin}: {error}") from error


def _value(hint: Any, value: Any, origin: str, key: str) -> Any:
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise TargetError(f"{origin}: {key} is {value!r}; it has to be a table [{key}]")
        return _parse(hint, value, origin, key + ".")
    if hint == float | None:  # a figure that may be left out; TOML cannot say None
        hint = float
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        # Bounds far beyond any hardware keep products and quotients finite; NaN fails them too.
        if not (value == 0 or 1e-12 <= value <= 1e12):
            small = isinstance(value, float) or abs(value) <= 1e300  # others have no format
            raise TargetError(
                f"{origin}: {key} is {f'{value:.3g}' if small else 'too large'}; it has to be "
                "finite and not negative: 0, or 1e-12 … 1e12"
            )
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 2**31:
            raise TargetError(f"{origin}: {key} is {value}; it has to lie in 1 … 2**31")
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint not in (int, float, str) and isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    expected = getattr(hint, "__name__", str(hint))
    raise TargetError(f"{origin}: {key} is {value!r}; it has to be of type {expected}")


def _numbers(item: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every number in a description."""
    for f in fields(item):
        value = getattr(item, f.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{f.name}.")
        elif isinstance(value, int | float):
            yield prefix + f.name


def _check_provenance(target: Target, origin: str) -> None:
    numbers = set(_numbers(target))
    for key, entry in target.provenance.items():
        if key not in numbers:
            raise TargetError(
                f"{origin}: provenance of {key}, which is no number. {did_you_mean(key, numbers)}"
            )
        if (
            not isinstance(entry, Mapping)
            or set(entry) != {"source", "evidence"}
            or not isinstance(entry["source"], str)
            or entry["evidence"] not in EVIDENCE
        ):
            raise TargetError(
                f"{origin}: provenance of {key} is {entry!r}; it has to hold a source and an "
                f"evidence, one of {', '.join(EVIDENCE)}"
            )
    unsourced = sorted(numbers - set(target.provenance))
    if unsourced:
        raise TargetError(f"{origin}: no [provenance] for {', '.join(unsourced)}")
