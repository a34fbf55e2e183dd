"""T3Bench's layout (He et al., arXiv 2310.02977): <method>_<group>/<prompt_in_words>@<time>/save/it<steps>-export.

Groups are single, surr and multi. The prompt is in the run's settings, else its words in the folder's name.
"""

from __future__ import annotations

import re
from pathlib import Path

from errors import UserError
from intake import threestudio
from intake.base import Asked, Found, Refused, Tree
from intake.names import STAMP, Place
from prompts import known_or_own

TITLE = "T3Bench's layout, <method>_<group>/<prompt>@<time>/save/it<steps>-export"
GROUP = re.compile(r"(.+)_(single|surr|multi)")


def find(tree: Tree, asked: Asked) -> Found:
    found = Found([], [], [])
    by_place: dict[tuple[Place, Path], list[threestudio.Run]] = {}
    for folder, files in threestudio.runs_of(tree).items():
        group = GROUP.fullmatch((tree.called, *tree.parts(folder))[-2]) if folder != tree.root else None
        if not group:
            continue
        tree.taken.add(folder)
        try:
            run = threestudio.run_of(folder, files)
            by_place.setdefault((_place(asked, run, group[1]), folder.parent), []).append(run)
        except UserError as error:
            found.refused.append(Refused(tree.shown(folder), str(error), None, TITLE))
    for (place, _), runs in by_place.items():
        threestudio.take(found, tree, asked, place, runs, TITLE)
    return found


def _place(asked: Asked, run: threestudio.Run, method: str) -> Place:
    text = run.said("system", "prompt_processor", "prompt") or words_of(run.folder)
    seed = run.said("seed")
    return Place(asked.method or method, known_or_own(asked.names.prompts, str(text)), seed if type(seed) is int else 0)


def words_of(folder: Path) -> str:
    """A prompt from the name of its run, in which spaces are underlines."""
    return STAMP.sub("", folder.name).replace("_", " ")
