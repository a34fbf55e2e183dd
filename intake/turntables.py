"""Turntable videos, a file a prompt: <method>/<prompt>.mp4, <prompt>/turntable.gif, ...; a seed may come after it."""

from __future__ import annotations

from errors import UserError
from intake import video
from intake.base import Asked, Found, Refused, Tree, Unit

TITLE = "turntable videos, a file a prompt"


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    for folder, files in list(tree.free()):
        for file in (f for f in files if f.suffix.lower() in video.KINDS):
            tree.taken.add(file)
            place = None
            try:
                place = asked.place(tree, (*tree.parts(folder), file.stem))
                found.units.append(Unit(place, video.source(file, len(asked.cameras)), tree.shown(file), TITLE))
            except UserError as error:
                found.refused.append(Refused(tree.shown(file), str(error), place, TITLE))
    return found
