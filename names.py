"""What the command line can name, in words: read without torch, so that `--help` and `list` answer at once."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from errors import UserError
from files import ROOT, read_text

COMMANDS_OF_RUNS = {  # what is done with runs that are there: commands/runs/
    "table": "the tables of a scored run again",
    "report": "a page of runs, to look at and to publish",
    "compare": "runs, packs and published tables side by side",
    "pack": "a run as one archive",
    "merge": "several runs or packs of one protocol as one",
    "export": "a run's scenes as meshes and videos",
    "view": "a live viewer of a run's scenes",
    "serve": "the pages of a folder of runs, to this machine's browser",
    "tensorboard": "the curves of a run's jobs, for TensorBoard",
    "check": "the gate",
    "verify": "what a run may claim: closed results, or open ones",
    "status": "how far a run is, and who works at it",
}
COMMANDS = {
    "run": "from prompts to a table",
    "sweep": "tune a method, on prompts kept apart",
    "list": "all names",
    "render": "render a run's scenes again, without training",
    "score": "score a run's views again",
    "evaluate": "score renders, turntables and meshes made elsewhere",
    **COMMANDS_OF_RUNS,
    "ablate": "the paper's ablations",
    "fetch": "bring the published weights",
    "doctor": "what a suite lacks on this machine",
    "bench": "what the kernels are worth, and where time goes",
}
TUNED = "tuned"
TRACKS = {
    "controlled": "one scene, cameras, resolution and length for all: only the rule differs",
    "paper": "each rule with its published settings",
    TUNED: "as the suite's first, each rule at what its sweep found best (results/tuned)",
}
ABLATIONS = {
    "kappa": "five choices of noise: their error in eq. 8 over t, and the pictures they lead to (fig. 9)",
    "canvas": "every rule on one 2D picture, beside DDIM's sample (fig. 1)",
    "proposed": "SDS to SDI, one improvement after another (fig. 8)",
    "inversion-cfg": "CFG of the inversion x CFG of the prediction (fig. 10)",
    "inversion-steps": "3 to 30 steps of inversion: time and quality (fig. 11)",
    "ism-to-sdi": "ISM to SDI in four changes (fig. 14)",
    "diversity": "how far the seeds of a rule lie apart (appendix C)",
    "length": "six rules from half to ten times as many steps: is longer better?",
}
SCENES = {
    "nerf": "a radiance field on a hash grid: the recipes' own",
    "gaussians": "3D Gaussians, which multiply while they are optimised (the paper's Table 2)",
}
RANDOM, EXACT = "random:sd21", "exact"
PRIORS = {
    "PATH": "any folder in Stable Diffusion's format (1.5, 2.1, the world's)",
    RANDOM: "Stable Diffusion 2.1's size with random weights, to measure cost",
    EXACT: "the closed-form denoiser of the world's own views",
}


def recipes(table: Path) -> dict[str, str]:
    """The recipes' words, from the source of their TABLE: to import that is to import torch."""
    tree = ast.parse(read_text(table))
    rows: Any
    (rows,) = (n.value for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "TABLE")
    return {name.value: row.args[0].value for name, row in zip(rows.keys, rows.values, strict=True)}


RECIPES = recipes(ROOT / "engine" / "recipes" / "tables.py")


def is_outside(method: str) -> bool:
    """Whether a method's name is that of a rule in a file, FILE.py:CLASS; or of a file alone, which is no rule yet."""
    return method.endswith(".py") or method.rpartition(":")[0].endswith(".py")


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """The name, which is one of the names; else a UserError with the nearest of them."""
    names = list(names)
    if name in names:
        return name
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(lower[n]) for n in near)}?" if near else f"known: {', '.join(names)}."
    raise UserError(f"There is no {kind} {name!r}: {hint}")
