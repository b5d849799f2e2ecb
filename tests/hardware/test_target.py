"""Target files: found, checked strictly, fingerprinted."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from snnplug.errors import TargetError
from snnplug.hardware.target import load_target, packaged_targets, parse_target, tomllib

CONTENT = tomllib.loads(packaged_targets()["yin2017-28nm"].read_text(encoding="utf-8"))


def changed(*path: str, to: Any = None, remove: bool = False) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    table = content
    for key in path[:-1]:
        table = table[key]
    if remove:
        del table[path[-1]]
    else:
        table[path[-1]] = to
    return content


@pytest.mark.parametrize("name", packaged_targets())
def test_every_packaged_target_loads_under_its_name(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.key.isidentifier()
    assert target.statement


def test_a_file_of_your_own_loads(tmp_path: Path) -> None:
    text = packaged_targets()["yin2017-28nm"].read_text(encoding="utf-8")
    path = tmp_path / "chip.toml"
    path.write_text(text.replace('name = "yin2017-28nm"', 'name = "mine"'), encoding="utf-8")
    target = load_target(path)
    assert target.name == "mine"
    assert target.fingerprint != load_target("yin2017-28nm").fingerprint
    assert load_target(target) is target


def test_fingerprint_changes_with_any_number() -> None:
    base = parse_target(CONTENT).fingerprint
    assert parse_target(copy.deepcopy(CONTENT)).fingerprint == base
    assert parse_target(changed("datapath", "lanes", to=63)).fingerprint != base


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("datapath", "lane", to=3), "unknown key datapath.lane. Did you mean lanes?"),
        (changed("datapath", "lanes", remove=True), "missing datapath.lanes"),
        (changed("sram", remove=True), "missing sram"),
        (changed("datapath", "lanes", to="64"), "datapath.lanes is '64'; it has to be of type int"),
        (changed("datapath", "lanes", to=True), "it has to be of type int"),
        (changed("datapath", "lanes", to=0), "it has to lie in 1"),
        (changed("ops", "add_pj_per_bit", to=-1.0), "finite and not negative"),
        (changed("ops", "add_pj_per_bit", to=float("nan")), "finite and not negative"),
        (changed("ops", "add_pj_per_bit", to=float("inf")), "finite and not negative"),
        (changed("ops", to=3), "it has to be a table"),
        (changed("schema", to=2), "this version reads schema = 1"),
        (changed("family", to="sparse_digitl"), "Did you mean sparse_digital?"),
        (changed("scope", to="everything"), "scope is 'everything'"),
        (changed("technology_nm", to=7), "no SRAM table for 7 nm"),
        (changed("provenance", "ops.add_pj_per_bit", remove=True), "no [provenance] for ops.add"),
        (
            changed("provenance", "ops.add_pj", to={"source": "x"}),
            "Did you mean ops.add_pj_per_bit",
        ),
        (changed("provenance", "technology_nm", to={"source": "x"}), "a source and an evidence"),
        (
            changed("provenance", "technology_nm", to={"source": "x", "evidence": "guess"}),
            "one of measured",
        ),
    ],
)
def test_a_description_that_is_not_valid_says_why(content: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError) as raised:
        parse_target(content)
    assert message in str(raised.value)


def test_unknown_names_and_broken_files_say_why(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="Did you mean yin2017-28nm"):
        load_target("yin2017-28")
    (tmp_path / "bad.toml").write_text("schema = ", encoding="utf-8")
    with pytest.raises(TargetError, match="not valid TOML"):
        load_target(tmp_path / "bad.toml")
