"""Target files: strictly read, extended one by another, every number with its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from snnplug.errors import TargetError, did_you_mean

EVIDENCE = ("measured", "published", "simulated", "derived", "assumed")
_T = TypeVar("_T")


def parse(kind: type[_T], table: Mapping[str, Any], origin: str, prefix: str = "") -> _T:
    """Build the dataclass ``kind`` from a table, naming every key that does not fit.

    Args:
        kind: A dataclass; its fields are the keys, dataclasses in it are tables.
        table: Keys and values, as read from TOML.
        origin: What errors call the description.
        prefix: What stands before the keys in errors.

    Raises:
        TargetError: A key is unknown or missing, or a value has a wrong type or is out of range.
    """
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
    values = {name: read(hints[name], table[name], origin, prefix + name) for name in given}
    try:
        return kind(**values)
    except TargetError as error:
        raise TargetError(f"{origin}: {error}") from error


def read(hint: Any, value: Any, origin: str, key: str) -> Any:
    """Return a value as its field wants it.

    Raises:
        TargetError: It has a wrong type or is out of range.
    """
    options = [option for option in get_args(hint) if option is not NoneType]
    if len(options) == 1 and NoneType in get_args(hint):  # may be left out; TOML cannot say None
        hint = options[0]
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise TargetError(f"{origin}: {key} is {value!r}; it has to be a table [{key}]")
        return parse(hint, value, origin, key + ".")
    if hint is bool and isinstance(value, bool):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number:
        # Bounds far beyond any hardware keep products and quotients finite; NaN fails them too.
        if not (value == 0 or 1e-12 <= value <= 1e12):
            small = isinstance(value, float) or abs(value) <= 1e300  # others have no format
            raise TargetError(
                f"{origin}: {key} is {f'{value:.3g}' if small else 'too large'}; it has to be "
                "finite and not negative: 0, or 1e-12 … 1e12"
            )
        return float(value)
    if hint is int and is_number and isinstance(value, int):
        if not 1 <= value <= 2**31:
            raise TargetError(f"{origin}: {key} is {value}; it has to lie in 1 … 2**31")
        return value
    if hint is str and isinstance(value, str):
        return value
    if hint not in (int, float, str, bool) and isinstance(value, Mapping):
        return {str(k): v for k, v in value.items()}
    expected = getattr(hint, "__name__", str(hint))
    raise TargetError(f"{origin}: {key} is {value!r}; it has to be of type {expected}")


def numbers(item: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every number in a description, a dataclass."""
    for f in fields(item):
        value = getattr(item, f.name)
        if is_dataclass(value):
            yield from numbers(value, f"{prefix}{f.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + f.name


def check_provenance(item: Any, provenance: Mapping[str, Any], origin: str) -> None:
    """Check that every number has a source and an evidence, and nothing else has.

    Raises:
        TargetError: One has none, or an entry does not fit.
    """
    known = set(numbers(item))
    for key, entry in provenance.items():
        if key not in known:
            raise TargetError(
                f"{origin}: provenance of {key}, which is no number. {did_you_mean(key, known)}"
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
    unsourced = sorted(known - set(provenance))
    if unsourced:
        raise TargetError(f"{origin}: no [provenance] for {', '.join(unsourced)}")


def extend(base: Mapping[str, Any], child: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return the description ``base`` with what ``child`` says in its place.

    A number that the child states needs a provenance of its own: the base's is about another
    number. Name and summary are never inherited.

    Raises:
        TargetError: The child leaves out its name, its summary or a provenance, or is of another
            family.
    """
    missing = [key for key in ("name", "summary") if key not in child]
    if missing:
        raise TargetError(f"{origin}: missing {', '.join(missing)}; extends does not inherit it")
    if child.get("family", base.get("family")) != base.get("family"):
        raise TargetError(
            f"{origin}: family is {child['family']!r} and that of {base.get('name')} is "
            f"{base.get('family')!r}; leave it out, or extend a target of the same family"
        )
    sources = child.get("provenance", {})
    # What the base does not state is judged with the whole: it may be misspelt.
    unsourced = [
        key
        for key in _stated(child)
        if isinstance(sources, Mapping) and key in base["provenance"] and key not in sources
    ]
    if unsourced:
        raise TargetError(
            f"{origin}: no [provenance] for {', '.join(unsourced)}; the extended target's is about "
            "another number"
        )
    return _merged(base, child)


def _merged(base: Mapping[str, Any], child: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    merged = dict(base)
    for key, value in child.items():
        below = merged.get(key)
        # Tables are merged; an entry of [provenance] is one value.
        if depth < 1 and isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value, depth + 1)
        else:
            merged[key] = value
    return merged


def _stated(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every number that a parsed file states."""
    for key, value in table.items():
        if key in ("provenance", "schema") and not prefix:
            continue
        if isinstance(value, Mapping):
            yield from _stated(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + key
