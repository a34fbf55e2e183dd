"""Meshes, a file a prompt: <method>/<prompt>.glb, <method>/<prompt>/model.obj, ...; a seed may come behind it."""

from __future__ import annotations

from errors import UserError
from intake import mesh
from intake.base import Asked, Found, Refused, Tree, Unit

TITLE = "meshes, a file a prompt"


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    for folder, files in list(tree.free()):
        for file in (f for f in files if f.suffix.lower() in mesh.KINDS):
            tree.taken.add(file)
            place = None
            try:
                place = asked.place(tree, (*tree.parts(folder), file.stem))
                found.units.append(Unit(place, mesh.source(file, asked), tree.shown(file), TITLE))
            except UserError as error:
                found.refused.append(Refused(tree.shown(file), str(error), place, TITLE))
    return found
