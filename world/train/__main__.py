"""Train the world's models, or check what they can.

    python -m world.train vae                the autoencoder
    python -m world.train unet               the U-Net and its text encoder (needs the autoencoder)
    python -m world.train clip               the tiny CLIP
    python -m world.train clip2              the second one: smaller, of another seed
    python -m world.train reward             the tiny reward, in ImageReward's form
    python -m world.train unet --replay 200  make the first steps again, and compare with the kept curve
    python -m world.train --check            measure all of them on unseen views, and write their cards

A training that was stopped (Ctrl-C too) goes on where it was when the same command is run again; what it keeps lies in
world/cache, and the finished weights, in half precision, in world/models.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from errors import UserError, exit_code
from prompts import find, paper43
from world import models
from world.captions import every_caption
from world.dataset import CACHE, VARIANTS, pictures
from world.train import curves
from world.train.run import Paused, Plan

STEPS = {"vae": 1800, "unet": 5400, "clip": 900, "clip2": 900, "reward": 4000}
VIEWS, UNSEEN = 1000, 100  # of each toy, for training and for checks
SAME = 0.02  # of a loss: what other numbers of threads round differently grows to
SECOND = 1000  # added to the seed of the second CLIP's weights and batches; its pictures are the first one's


def train_vae(prompts: list[str], plan: Plan) -> None:
    from world.train import vae

    model = vae.train(pictures(prompts, VIEWS, plan.seed, plan.variants), plan)
    model.half().save_pretrained(models.TINY_SD / "vae")


def train_unet(prompts: list[str], plan: Plan, views: int = VIEWS) -> None:
    from world.train import unet

    if not (models.TINY_SD / "vae").exists():
        raise UserError("The U-Net needs the autoencoder: run `python -m world.train vae` first.")
    vae = models.shipped_vae(plan.device)
    data = pictures(prompts, views, plan.seed, plan.variants, plan.device)
    words = models.tokenizer(every_caption(prompts))
    model = unet.train(data, unet.latents(vae, data, plan.seed), prompts, words, plan)
    folder = plan.out or models.TINY_SD
    models.save(models.pipeline(vae.cpu().half(), model.unet.cpu().half(), model.text.cpu().half(), words), folder)
    said = {"view_words": "sectors", "variants": plan.variants, "text_share": models.TEXT_SHARE}
    (folder / "views.json").write_text(json.dumps(said) + "\n")


def train_clip(prompts: list[str], plan: Plan) -> None:
    from eval.clip_iqa import SENTENCES
    from world.train import clip

    words = models.tokenizer([*prompts, *SENTENCES])
    model = clip.train(pictures(prompts, VIEWS, plan.seed, plan.variants), prompts, words, plan)
    model.half().save_pretrained(models.TINY_CLIP)
    models.clip_processor(words).save_pretrained(models.TINY_CLIP)


def train_clip2(prompts: list[str], plan: Plan) -> None:
    from eval.clip_iqa import SENTENCES
    from world.train import clip

    words = models.tokenizer([*prompts, *SENTENCES])
    data, other = pictures(prompts, VIEWS, plan.seed, plan.variants), replace(plan, seed=plan.seed + SECOND)
    model = clip.train(data, prompts, words, other, width=96, layers=3)
    model.half().save_pretrained(models.TINY_CLIP_2)
    models.clip_processor(words).save_pretrained(models.TINY_CLIP_2)


def train_reward(prompts: list[str], plan: Plan) -> None:
    from world.train import reward

    model = reward.train(pictures(prompts, VIEWS, plan.seed, plan.variants), prompts, models.word_pieces(prompts), plan)
    model.half().save(models.TINY_REWARD)


TRAINERS = {"vae": train_vae, "unet": train_unet, "clip": train_clip, "clip2": train_clip2, "reward": train_reward}


def replay(prompts: list[str], plan: Plan, steps: int) -> bool:
    """Whether the first steps, made again in a folder of their own, follow the kept curve."""
    if not 20 <= steps < plan.steps:
        raise UserError(f"A replay takes 20 to {plan.steps - 1} steps: the curve has a row every 20.")
    with TemporaryDirectory() as folder:
        again = replace(plan, folder=Path(folder), until=steps)
        with suppress(Paused):
            TRAINERS[plan.name](prompts, again)
        difference = curves.difference(again)
    print(f"{plan.name}: {steps} steps again differ from the kept curve by at most {100 * difference:.3g} % of a loss.")
    return difference <= SAME


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m world.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", nargs="?", choices=list(STEPS))
    parser.add_argument("--check", action="store_true", help="measure the shipped models; exit 1 where one falls short")
    parser.add_argument("--steps", type=int, help=f"optimiser steps (default: {STEPS})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--replay", type=int, metavar="N", help="exit 1 where the first N steps are not the kept curve's"
    )
    other = parser.add_argument_group("another prior (unet only): not to ship, but for `run_benchmark.py --prior DIR`")
    other.add_argument("--out", type=Path, metavar="DIR", help="the folder that it is written to")
    other.add_argument("--prompts", nargs="+", default=["all"], metavar="TEXT", help="the toys that it knows")
    other.add_argument("--variants", type=int, default=VARIANTS, metavar="N", help="of each toy (default %(default)s)")
    parser.add_argument("--minutes", type=float, metavar="N", help="instead of --steps: train for as long as this")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda for unet only (default: cpu)")
    parser.add_argument("--from", dest="start", type=Path, metavar="DIR", help="unet only: learn on from these weights")
    parser.add_argument(
        "--teach",
        action="store_true",
        help="with --from: captions are true, and the empty one learns what the averaged weights say of them",
    )
    args = parser.parse_args()
    prompts = [prompt.text for prompt in find(paper43(), args.prompts, "the known world")]
    if args.check:
        from world.train.check import check

        sys.exit(0 if check(prompts, UNSEEN) else 1)
    if args.model is None:
        parser.error(f"name a model to train ({', '.join(STEPS)}), or --check")
    if args.out is None and (args.prompts != ["all"] or args.variants != VARIANTS):
        parser.error("a prior of other prompts or variants is not shipped: say with --out where it goes")
    if args.out and args.model != "unet":
        parser.error("--out, --prompts and --variants are for the U-Net: the other models know the whole world")
    if args.start and (args.model != "unet" or not (args.start / "unet").is_dir()):
        parser.error("--from names a Stable Diffusion folder of this world, and is for the U-Net")
    if args.teach and not args.start:
        parser.error("--teach needs --from DIR: the weights that teach")
    folder = CACHE / "train" / (args.out.name if args.out else args.model)
    steps = args.steps or STEPS[args.model]
    plan = Plan(
        args.model,
        args.seed,
        steps,
        folder,
        None,
        args.variants,
        args.out,
        minutes=args.minutes,
        device=args.device,
        start=args.start,
        teach=args.teach,
    )
    if args.replay:
        sys.exit(0 if replay(prompts, plan, args.replay) else 1)
    TRAINERS[args.model](prompts, plan)
    if plan.out is None:
        curves.keep(plan)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being told to stop saves the step, as Ctrl-C does
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    try:
        sys.exit(exit_code("world.train", main))
    except KeyboardInterrupt:
        print("\nStopped, and saved: the same command goes on from here.", file=sys.stderr)
        sys.exit(130)
