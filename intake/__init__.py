"""Everybody's results: from renders, turntables and meshes as people have them to job folders of this benchmark.

`look` walks a path, lets each layout of LAYOUTS say which objects it holds, and names what is none of them or damaged;
`write.take` puts an object into a run. Nothing is ever written where it was found.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from errors import UserError
from intake import contract, flat, gpteval3d, meshes, t3bench, threestudio, turntables, unread
from intake.base import Asked, Found, Refused, Tree

LAYOUTS = (t3bench, threestudio, gpteval3d, contract, flat, turntables, meshes, unread)  # the first to know


def look(path: Path, asked: Asked, given: Path) -> Found:
    """The objects in a folder, or in one file. `given` is the path that people know it by: that of its archive.

    Raises UserError where it is not there, or holds no object of any layout."""
    tree = Tree.of(path, given.name.split(".")[0] if given != path else None)
    found = Found([], [], [])
    for layout in LAYOUTS:
        part = layout.find(tree, asked)
        found.units.extend(part.units)
        found.refused.extend(part.refused)
        found.notes.extend(part.notes)
        titles = Counter(unit.layout for unit in part.units)
        found.notes.extend(f"{given}: {_objects(n)} in {title}." for title, n in titles.items())
    for unit in [unit for unit in found.units if not unit.place.method.isprintable()]:
        found.units.remove(unit)
        found.refused.append(Refused(unit.where, "its method's name has signs that cannot be printed: rename it"))
    if not found.units and not found.refused:
        raise UserError(
            f"There are no renders in {given}: expected folders of numbered views (rgb_000.png), turntable videos, "
            "meshes or a threestudio outputs folder; see evaluate --help."
        )
    return found


def _objects(n: int) -> str:
    return "1 object" if n == 1 else f"{n} objects"
