"""GPTEval3D's layout (Wu et al., arXiv 2401.04092): <method>/<prompt's index from 0>/<seed>/rgb_0.png ... rgb_119.png.

The index counts its prompts.json, which lies beside methods/ in its release, or the list of --prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from errors import UserError
from intake import pictures
from intake.base import Asked, Found, Refused, Tree, Unit
from intake.names import SEED, Names, Place
from prompts import known_or_own
from prompts.lists import texts_of

TITLE = "GPTEval3D's layout, <method>/<prompt's index>/<seed>/rgb_0.png"
LIST = "prompts.json"


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    mine = list(_folders(tree, asked.names))
    if not mine:
        return found
    names = asked.names if asked.names.given else _listed(tree, asked.names, found)
    for folder, files in mine:
        tree.taken.add(folder)
        _take(found, tree, replace(asked, names=names), folder, pictures.by_kind(files))
    return found


def _folders(tree: Tree, names: Names) -> Iterator[tuple[Path, list[Path]]]:
    """Those of pictures rgb_<n> two levels below a method, in a folder whose name is a number and no prompt."""
    for folder, files in tree.free():
        parts = tree.parts(folder)
        numbered = len(parts) > 1 and parts[-2].isascii() and parts[-2].isdecimal()
        if numbered and "rgb" in pictures.by_kind(files) and not any(map(names.of, parts)):
            yield folder, files


def _listed(tree: Tree, names: Names, found: Found) -> Names:
    """The prompts of the release's own list, where it lies there."""
    for folder in (tree.root, tree.root.parent):
        if (folder / LIST).is_file():
            found.notes.append(f"The prompts are counted by {folder / LIST}.")
            return Names(tuple(known_or_own(names.prompts, text) for text in texts_of(folder / LIST)), given=True)
    return names


def _take(found: Found, tree: Tree, asked: Asked, folder: Path, kinds: pictures.Kinds) -> None:
    place, parts = None, (tree.called, *tree.parts(folder))
    try:
        if not asked.names.given:
            raise UserError("its prompts are numbers: give --prompts FILE, the list that they count from 0")
        index, seed = int(parts[-2]), SEED.fullmatch(parts[-1])
        if index >= len(asked.names.prompts):
            raise UserError(f"it counts to {index} from 0, and there are {len(asked.names.prompts)} prompts")
        place = Place(asked.method or parts[-3], asked.names.prompts[index], int(seed[1]) if seed else 0)
        views = pictures.in_turn(kinds["rgb"])
        found.units.append(
            Unit(place, pictures.Numbered(views, pictures.paired(kinds, views)), tree.shown(folder), TITLE)
        )
    except UserError as error:
        found.refused.append(Refused(tree.shown(folder), str(error), place, TITLE))
