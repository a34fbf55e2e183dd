"""Numbered views of whatever name, a folder a prompt, or all prompts in one folder with the prompt before the number.

Folders that are numbers count the prompts of --prompts: from 0 where there is a folder 0, else from 1 where there is
one for the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from errors import UserError
from intake import pictures
from intake.base import Asked, Found, Refused, Tree, Unit
from intake.names import Place

TITLE = "numbered views, a folder a prompt"
MIXED = "numbered views, the prompt before the number"


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    mine = list(_folders(tree))
    start = counted_from(tree, mine, asked)
    for folder, kinds in mine:
        views = [kind for kind in kinds if kind not in pictures.OTHERS]
        if len(views) > 1 or (views and asked.names.of(views[0])):
            for kind in views:
                _named(found, tree, asked, folder, kinds, kind)
        elif views:
            tree.taken.add(folder)
            _folder(found, tree, asked, folder, kinds, views[0], start)
    return found


def _folders(tree: Tree) -> Iterator[tuple[Path, pictures.Kinds]]:
    for folder, files in tree.free():
        kinds = pictures.by_kind(files)
        if kinds and folder.name.lower() not in pictures.OTHERS:
            yield folder, kinds


def counted_from(tree: Tree, folders: list[tuple[Path, pictures.Kinds]], asked: Asked) -> int | None:
    """With what folders that are numbers begin; None where nothing says so."""
    numbers = {int(f.name) for f, _ in folders if f.name.isascii() and f.name.isdecimal() and f != tree.root}
    if not asked.names.given or not numbers:
        return None
    return 0 if 0 in numbers else 1 if len(asked.names.prompts) in numbers else None


def _folder(
    found: Found, tree: Tree, asked: Asked, folder: Path, kinds: pictures.Kinds, kind: str, start: int | None
) -> None:
    place = None
    try:
        place = _place(tree, asked, folder, start)
        views = pictures.in_turn(kinds[kind])
        source = pictures.Numbered(views, pictures.paired(kinds, views))
        found.units.append(Unit(place, source, tree.shown(folder), TITLE))
    except UserError as error:
        found.refused.append(Refused(tree.shown(folder), str(error), place, TITLE))


def _place(tree: Tree, asked: Asked, folder: Path, start: int | None) -> Place:
    parts = tree.parts(folder)
    try:
        return asked.place(tree, parts)
    except UserError:
        if start is None or not parts or not parts[-1].isdecimal():
            raise
    index, prompts = int(parts[-1]) - start, asked.names.prompts
    if not 0 <= index < len(prompts):
        raise UserError(f"it counts to {parts[-1]}, and there are {len(prompts)} prompts")
    return Place(asked.method or (tree.called, *parts)[-2], prompts[index], 0)


def _named(found: Found, tree: Tree, asked: Asked, folder: Path, kinds: pictures.Kinds, kind: str) -> None:
    """The pictures of a folder whose names begin with a prompt's."""
    place, files = None, kinds[kind]
    where = f"{tree.shown(folder)}/{files[0][1].name} ..."
    tree.taken.update(file for _, file in files)
    try:
        place = asked.place(tree, (*tree.parts(folder), kind))
        found.units.append(Unit(place, pictures.Numbered(pictures.in_turn(files)), where, MIXED))
    except UserError as error:
        found.refused.append(Refused(where, str(error), place, MIXED))
