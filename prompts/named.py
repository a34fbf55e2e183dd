"""Lists of prompts of other papers by name: those whose licence lets them be passed on, and where the others are."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from errors import UserError
from files import read_text

HERE = Path(__file__).parent
REMARK = "#"  # what lines of a list's source and licence begin with


@dataclass(frozen=True)
class Named:
    """`file` is "" where the list may not be passed on; then `where` says where it is."""

    about: str
    file: str = ""
    where: str = ""


NAMED = {
    "dreamfusion": Named("DreamFusion's gallery: 415 prompts (arXiv 2209.14988), Apache 2.0", "dreamfusion.txt"),
    "gpteval3d": Named(
        "GPTEval3D's 110 prompts (arXiv 2401.04092): not here, their repository states no licence",
        where="data/tournament-v0/prompts.json of github.com/3DTopia/GPTEval3D",
    ),
    "t3bench": Named(
        "T3Bench's 300 prompts (arXiv 2310.02977): not here, their repository states no licence",
        where="data/prompt_single.txt, prompt_surr.txt and prompt_multi.txt of github.com/THU-LYJ-Lab/T3Bench",
    ),
}


def texts_named(request: str) -> list[str] | None:
    """The texts of the list of that name; None where it is no name of one. Raises UserError for a list that is not
    here, with where it is, and for a slip of a name."""
    name = request.strip().lower()
    if name not in NAMED:
        if near := difflib.get_close_matches(name, NAMED, n=1, cutoff=0.8):
            raise UserError(f"There is no list of prompts {request!r}: did you mean {near[0]!r}?")
        return None
    found = NAMED[name]
    if not found.file:
        raise UserError(
            f"The prompts of {name} are not shipped, for their repository states no licence: get {found.where}, and "
            "give --prompts the files."
        )
    return [line for line in read_text(HERE / found.file).splitlines() if line and not line.startswith(REMARK)]
