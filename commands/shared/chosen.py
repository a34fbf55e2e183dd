"""Which finished scenes of a run are meant: by method, prompt and seed."""

from __future__ import annotations

from pathlib import Path

from commands.options import Parser, seed
from errors import UserError
from names import known


def add_choice(parser: Parser) -> None:
    """The options by which jobs are chosen."""
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these; default: all of the run")
    parser.add_argument("--prompts", nargs="+", metavar="TEXT", help="texts, ids or numbers; default: all of the run")
    parser.add_argument("--seeds", type=seed, nargs="+", metavar="N", help="only these; default: all of the run")


def scenes_of(
    run: Path, methods: list[str] | None, prompts: list[str] | None, seeds: list[int] | None
) -> tuple[list[Path], int]:
    """The folders of jobs that were chosen and ended with a scene, and how many others were chosen. Raises UserError
    for names that the run does not know, and where there is no scene."""
    from engine.views import has_scene
    from eval.views import job_json, jobs
    from prompts import Prompt, find

    found = jobs(run)
    if methods:
        all_methods = sorted({job.parts[-3] for job in found})
        methods = [known(f"method in {run}", name, all_methods) for name in methods]
        found = [job for job in found if job.parts[-3] in methods]
    if prompts:
        texts = {job.parts[-2]: str(job_json(job / "config.json").get("prompt", job.parts[-2])) for job in found}
        of_run = tuple(Prompt(*item) for item in sorted(texts.items()))
        chosen = find(of_run, prompts, f"the run {run}")
        if lost := [prompt.text for prompt in chosen if prompt not in of_run]:
            raise UserError(f"There is no prompt {lost[0]!r} in the run {run}: name one by its text, id or number.")
        found = [job for job in found if job.parts[-2] in {prompt.id for prompt in chosen}]
    if seeds:
        found = [job for job in found if job.parts[-1] in map(str, seeds)]
    scenes = [job for job in found if has_scene(job)]
    if not scenes:
        raise UserError(f"There is no finished scene in {run} among the {len(found)} jobs asked for.")
    return scenes, len(found) - len(scenes)
