"""This benchmark's own layout: <method>/<prompt>/<seed>/rgb_000.png, or views/rgb_000.png below it.

The seed may be left out, the prompt be its text or its id; opacity_000.png lie beside, where opacities are known.
"""

from __future__ import annotations

from pathlib import Path

from errors import UserError
from intake import pictures
from intake.base import Asked, Found, Refused, Tree, Unit

TITLE = "this benchmark's layout, <method>/<prompt>/<seed>/rgb_000.png"


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    for folder, files in tree.free():
        kinds = pictures.by_kind(files)
        if "rgb" in kinds:
            tree.taken.add(folder.parent if folder.name == "views" else folder)  # beside them are pictures of pictures
            _take(found, tree, asked, folder, kinds)
    return found


def _take(found: Found, tree: Tree, asked: Asked, folder: Path, kinds: pictures.Kinds) -> None:
    """A folder's views become a unit, or are refused."""
    place = None
    try:
        place = asked.place(tree, tree.parts(folder))
        views = pictures.in_turn(kinds["rgb"])
        source = pictures.Numbered(views, pictures.paired(kinds, views))
        found.units.append(Unit(place, source, tree.shown(folder), TITLE))
    except UserError as error:
        found.refused.append(Refused(tree.shown(folder), str(error), place, TITLE))
