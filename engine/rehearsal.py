"""`--rehearse`: the same path in small. Nothing of it but sizes differs from what it rehearses."""

from __future__ import annotations

from argparse import Namespace

SIZES = {"steps": 20, "resolution": 64, "views": 6}  # of renders, in training and around
PROMPTS = 3  # of the paper's suite


def rehearsed(options: Namespace) -> Namespace:
    """The options, small where a rehearsal is asked for and they do not say otherwise; changed in place."""
    if options.rehearse:
        for name, value in SIZES.items():
            if getattr(options, name) is None and not (name == "steps" and options.budget):
                setattr(options, name, value)
        if options.suite == "paper" and not getattr(options, "prompts", None):
            options.limit = options.limit or PROMPTS
    return options
