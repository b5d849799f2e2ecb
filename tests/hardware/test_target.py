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


def child(**changes: Any) -> dict[str, Any]:
    """A target with four-bit weights that extends the packaged one."""
    content = {
        "schema": 1,
        "extends": "yin2017-28nm",
        "name": "narrow",
        "summary": "four-bit weights",
        "datapath": {"weight_bits": 4},
        "provenance": {"datapath.weight_bits": {"source": "data sheet", "evidence": "published"}},
    }
    return {key: value for key, value in (content | changes).items() if value is not None}


def test_a_target_that_extends_another_changes_what_it_names() -> None:
    base, narrow = load_target("yin2017-28nm"), parse_target(child())
    assert narrow.name == "narrow"
    assert narrow.statement == base.statement
    described, expected = narrow.describe(), base.describe()
    expected |= {"name": "narrow", "summary": "four-bit weights"}
    expected["datapath"] |= {"weight_bits": 4}
    expected["provenance"] |= child()["provenance"]
    assert described == expected
    assert narrow.fingerprint != base.fingerprint


def test_extending_a_file_beside_it(tmp_path: Path) -> None:
    head = 'schema = 1\nsummary = "s"\n'
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.toml").write_text(head + 'extends = "sub/b.toml"\nname = "a"', encoding="utf-8")
    b = tmp_path / "sub" / "b.toml"
    b.write_text(head + 'extends = "yin2017-28nm"\nname = "b"', encoding="utf-8")
    assert load_target(tmp_path / "a.toml").name == "a"
    b.write_text(head + 'extends = "../a.toml"\nname = "b"', encoding="utf-8")
    with pytest.raises(TargetError, match=r"extends itself, .*a\.toml → .*b\.toml → "):
        load_target(tmp_path / "a.toml")
    b.write_text(head + 'extends = "b.toml"\nname = "b"', encoding="utf-8")
    with pytest.raises(TargetError, match="extends itself"):
        load_target(b)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (child(extends="yin2017"), "extends 'yin2017': no hardware target 'yin2017'"),
        (child(extends=3), "extends is 3"),
        (child(family="per_event"), "family is 'per_event' and that of yin2017-28nm"),
        (child(name=None), "missing name; extends does not inherit it"),
        (child(provenance=None), "no [provenance] for datapath.weight_bits; the extended"),
        (
            child(datapath={"weight_bit": 4}),
            "unknown key datapath.weight_bit. Did you mean weight_bits?",
        ),
        (child(summary=None, name=None), "missing name, summary"),
    ],
)
def test_a_wrong_extension_says_why(content: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError) as raised:
        parse_target(content)
    assert message in str(raised.value)


class Entry:
    """As importlib.metadata gives it."""

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self._found = name, f"package:{name}", found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


def test_targets_of_other_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "theirs.toml"
    text = 'schema = 1\nextends = "yin2017-28nm"\nname = "theirs"\nsummary = "s"'
    path.write_text(text, encoding="utf-8")
    made = parse_target(child())
    entries = [
        Entry("theirs", path),
        Entry("called", lambda: str(path)),
        Entry("made", made),
        Entry("broken", ImportError("no module named x")),
        Entry("wrong", 3),
        Entry("yin2017-28nm", path),
    ]
    monkeypatch.setattr("snnplug.hardware.target.entry_points", lambda group: entries)
    assert load_target("theirs").name == load_target("called").name == "theirs"
    assert load_target("made") is made
    assert load_target("yin2017-28nm").name == "yin2017-28nm"  # a packaged name keeps its meaning
    assert parse_target(child(extends="theirs")).name == "narrow"
    with pytest.raises(TargetError, match=r"broken = package:broken cannot be loaded: no module"):
        load_target("broken")
    with pytest.raises(TargetError, match=r"leads to 3; it has to be a \.toml file or a Target"):
        load_target("wrong")
    with pytest.raises(TargetError, match="no file that can be extended"):
        parse_target(child(extends="made"))
    with pytest.raises(TargetError, match=r"Known: .*theirs"):
        load_target("thiers")
