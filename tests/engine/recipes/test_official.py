"""The paper's recipes are their authors' settings, key by key (official.py)."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from engine.recipes.base import Recipe, Shading, Weight
from engine.recipes.tables import recipe
from scene.canvas import CanvasConfig
from tests.engine.recipes import official
from tests.engine.recipes.official import CONFIGS, FOR, MAPPED, REASONS, decided, equal, look, mapping, same, undecided

NAMES = list(CONFIGS)


def differences(made: Recipe) -> list[str]:
    """Each field that is another than its official value, or than what it is said to be, in words."""
    found = []
    for key, path, theirs in decided(made.name) + undecided(made.name, leaves(made)):
        try:
            ours = look(made, path)
        except AttributeError:
            ours = "no such field"
        if not equal(ours, theirs):
            found.append(f"{made.name}: {path} is {ours}, {key} is {theirs}")
    return found


def published(name: str) -> Recipe:
    return recipe("paper", "paper", name)


@pytest.mark.parametrize("name", NAMES)
def test_each_field_is_its_official_value(name):
    assert differences(published(name)) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_official_key_has_fields_or_a_reason(name):
    assert [key for key in official.settings_of(name) if mapping(name, key) is None] == []


def test_no_row_is_of_a_key_that_nobody_has():
    known = {key for settings in official.read().values() for key in settings}
    rows = set(MAPPED) | set(REASONS) | {key for own in FOR.values() for key in own}
    assert rows - known == set()
    assert set(MAPPED) & set(REASONS) == set()


def leaves(value: Any, path: str = "") -> set[str]:
    """Paths of all fields of a recipe; a regulariser is one."""
    found = set()
    for f in fields(value):
        inner = getattr(value, f.name)
        if f.name == "regularisers":
            found |= {f"regularisers.{name}" for name, _ in inner}
        elif is_dataclass(inner):
            found |= leaves(inner, f"{path}{f.name}.")
        else:
            found.add(path + f.name)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_field_of_a_recipe_is_official_or_has_a_reason(name):
    every = leaves(published(name))
    theirs = {path for _, path, _ in decided(name) + undecided(name, every)}
    theirs |= {f"shading.{f.name}" for f in fields(Shading)} if "shading" in theirs else set()
    assert every - theirs == {"name"}


# ---- a field that is changed is found


def perturbed(made: Recipe, path: str) -> Recipe:
    """The recipe with another value at a path."""
    first, _, rest = path.partition(".")
    if path == "rule":
        return replace(made, method=type("Other", (type(made.method),), {})(**vars(made.method)))
    if path == "scene.kind":
        return replace(made, scene=CanvasConfig())
    if first == "regularisers":
        others = tuple((name, w) for name, w in made.regularisers if name != rest)
        mine = dict(made.regularisers).get(rest)
        return replace(made, regularisers=(*others, (rest, replace(mine, last=7.0) if mine else Weight(1.0, 1.0))))
    return _other(made, "optimizer" if first == "optimizer" else path)


def _other(value: Any, path: str) -> Any:
    first, _, rest = path.partition(".")
    old = getattr(value, first)
    return replace(value, **{first: _other(old, rest) if rest else another(old)})


def another(old: Any) -> Any:
    if is_dataclass(old):  # shading, as a whole
        return replace(old, textureless=old.textureless + 0.1)
    if isinstance(old, bool):
        return not old
    if isinstance(old, str):
        others = {"adam": "adamax", "adamax": "adamw", "adamw": "adamax", "sds": "uniform", "learned": "grey"}
        return others.get(old, f"not {old}")
    if isinstance(old, tuple):
        return (*old[:-1], another(old[-1])) if old else ((0.5, 0.5),)
    return 2 * old + 0.3 if isinstance(old, float) else old + 1


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_changed_is_found(name):
    made = published(name)
    of_keys = {path for _, path, _ in decided(name)} - {"method.negative"}  # which some rules lack
    for path in sorted(of_keys | leaves(made) - {"name"}):
        found = differences(perturbed(made, path))
        root = path.partition(".")[0] if path.startswith(("optimizer", "shading")) else path  # compared whole
        assert any(root in line for line in found), f"{path} may be changed unseen"


def test_a_key_without_a_row_is_found(monkeypatch):
    monkeypatch.delitem(MAPPED, "trainer.max_steps")
    assert mapping("sds", "trainer.max_steps") is None


# ---- how many there are


def test_counts():
    """Of keys in the configurations, each counted for each recipe that has it."""
    lines, total = [], [0, 0, 0, 0]
    for name in NAMES:
        keys = [key for config in CONFIGS[name] for key in official.read()[config]]
        rows = [mapping(name, key) for key in keys]
        mapped = [row for row in rows if isinstance(row, tuple)]
        converted = [row for row in mapped if any(f.convert is not same for f in row)]
        counts = [len(keys), len(mapped) - len(converted), len(converted), len(rows) - len(mapped)]
        total = [a + b for a, b in zip(total, counts, strict=True)]
        lines.append(f"{name:13} {counts[0]:4} official keys: {counts[1]} as they are, {counts[2]} converted, "
                     f"{counts[3]} without counterpart")  # fmt: skip
        assert counts[0] == sum(counts[1:])
    print("\n" + "\n".join([*lines, f"{'all':13} {total[0]:4} official keys: {total[1:]}"]))
    assert total[0] == sum(len(official.read()[config]) for configs in CONFIGS.values() for config in configs)
