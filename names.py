"""What the command line can name, in words: read without torch, so that `--help` and `list` answer at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from errors import UserError

SUITES = {
    "world": "toys of known shape and their own small prior; a CPU will do",
    "paper": "the paper's 43 prompts; fetch has the weights; have a GPU, or --rehearse",
}
TRACKS = {
    "controlled": "one scene, cameras, resolution and length for all: only the rule differs",
    "paper": "each rule with its published settings",
}
RECIPES = {
    "sdi": "score distillation via inversion, the paper's algorithm 2 (2405.15891)",
    "sdi-official": "the same as its official code computes it",
    "sds": "DreamFusion's score distillation at its published CFG of 100, 101 in this project's form (2209.14988)",
    "sds-cfg7.5": "the same at SDI's CFG of 7.5",
    "sds-anneal": "SDI with random noise instead of inverted noise: its schedule, its target",
    "sjc": "score Jacobian chaining: SDS with weight 1, in its paper on a voxel grid of latents (2212.00774)",
    "vsd": "variational score distillation, ProlificDreamer's rule: a student learns the renders' scores (2305.16213)",
    "esd": "entropic score distillation: VSD that keeps the views apart (2401.00909)",
    "hifa": "HiFA: SDS with root-annealed times and an image-space term (2305.18766)",
    "ism": "interval score matching, LucidDreamer's rule (2311.11284)",
    "nfsd": "noise-free score distillation (2310.17590)",
    "csd": "classifier score distillation (2310.19415)",
}
ABLATIONS = {
    "kappa": "five choices of noise: their error in eq. 8 over t, and the pictures they lead to (fig. 9)",
    "canvas": "every rule on one 2D picture, beside DDIM's sample (fig. 1)",
    "proposed": "SDS to SDI, one improvement after another (fig. 8)",
    "inversion-cfg": "CFG of the inversion x CFG of the prediction (fig. 10)",
    "inversion-steps": "3 to 30 steps of inversion: time and quality (fig. 11)",
    "ism-to-sdi": "ISM to SDI in four changes (fig. 14)",
    "diversity": "how far the seeds of a rule lie apart (appendix C)",
}
RANDOM, EXACT = "random:sd21", "exact"
PRIORS = {
    "PATH": "any folder in Stable Diffusion's format (1.5, 2.1, the world's)",
    RANDOM: "Stable Diffusion 2.1's size with random weights, to measure cost",
    EXACT: "the closed-form denoiser of the world's own views",
}
FIRST_LOOK = ("A ripe strawberry", "A blue tulip", "A DSLR photograph of a hamburger", "A plush dragon toy")


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """The name, which is one of the names; else a UserError with the nearest of them."""
    names = list(names)
    if name in names:
        return name
    lower = {n.lower(): n for n in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(lower[n]) for n in near)}?" if near else f"known: {', '.join(names)}."
    raise UserError(f"There is no {kind} {name!r}: {hint}")
