"""Train the tiny reward by ranking, as ImageReward (Xu et al., arXiv 2304.05977, eq. 1): of two pictures, one better.

loss = -log sigmoid(r_better - r_worse)

    a true picture          above   itself, distorted half as strongly
    that                    above   itself, distorted
    a true picture          above   itself, distorted
    a picture of the prompt above   one of another prompt, at the same rung of that ladder

Afterwards `mean` and `std` are set to those of the rewards over the same mix, so that scores are about N(0, 1) there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from eval.image_reward import ImageReward
from scene.background import grey_background
from world import models
from world.dataset import Pictures, over_grey
from world.train.clip import optimisers
from world.train.distort import Beside, Distortion, beside, in_shares
from world.train.held_out import HELD_OUT, fronts, subjects
from world.train.run import Plan, Training, rng_of

BATCH, PEAK, EMA = 26, 3e-3, 0.99
RUNGS = 3  # true, half distorted, distorted
LEAST = 0.2  # strength of a distorted picture


def ladder(
    rgba: Float[Tensor, "n 4 H W"], others: Beside, distort: Distortion, strength: Tensor, rng: torch.Generator
) -> Float[Tensor, "3 n 3 H W"]:
    """True pictures in [0, 1], the same distorted by half of `strength` (n), and by all of it, in one pattern and over
    one grey, in steps of 8 bits."""
    seed = int(torch.randint(2**31, (), generator=rng))
    s = strength.view(-1, 1, 1, 1)
    worse = [distort(rgba, others, share * s, torch.Generator().manual_seed(seed)) for share in (0.5, 1.0)]
    rungs = torch.stack([rgba, *worse])
    image = rungs[:, :, :3] + (1 - rungs[:, :, 3:]) * grey_background(len(rgba), rgba.shape[-2], rgba.shape[-1], rng)
    return (image.clamp(0, 1) * 255).round() / 255


def batch(data: Pictures, rng: torch.Generator, n: int = BATCH) -> tuple[Tensor, Tensor]:
    """Ladders (3,n,3,H,W), an equal share of each distortion, and labels (n,)."""
    pick = torch.randint(len(data.rgba), (n,), generator=rng)
    rgba, label = data.rgba[pick].float() / 255, data.label[pick]
    others, strength = beside(data, label, rng), LEAST + (1 - LEAST) * torch.rand(n, generator=rng)
    ladders = []
    for distort, rows in in_shares(n):
        ladders.append(ladder(rgba[rows], others.rows(rows), distort, strength[rows], rng))
    return torch.cat(ladders, 1), label


class Rewards(NamedTuple):
    """Of n ladders: `own` by rung, `other` pictures at rung `at` for the prompt of the first, where `differs`."""

    own: Float[Tensor, "3 n"]
    other: Float[Tensor, " n"]
    at: Tensor
    differs: Tensor

    @property
    def mismatched(self) -> Float[Tensor, " m"]:
        """own - other, at the same rung, where the prompts differ."""
        return (self.own.gather(0, self.at[None])[0] - self.other)[self.differs]


def rewards(
    model: ImageReward,
    images: Float[Tensor, "3 n 3 H W"],
    label: Tensor,
    words: dict[str, Tensor],
    rng: torch.Generator,
) -> Rewards:
    """One look at each picture, and a reading of it for its own prompt; of one in four, for a neighbour's."""
    n = len(label)
    mean, std = (images.new_tensor(x).view(3, 1, 1) for x in (model.processor.image_mean, model.processor.image_std))
    seen = model.look((images.flatten(0, 1) - mean) / std).unflatten(0, (RUNGS, n))
    at = torch.randint(RUNGS, (n,), generator=rng)
    neighbour = (torch.arange(n) + torch.randint(1, n, (n,), generator=rng)) % n
    asked = torch.cat([label.repeat(RUNGS), label])
    read = model.judge(
        torch.cat([seen.flatten(0, 1), seen[at, neighbour]]), {name: value[asked] for name, value in words.items()}
    ).unflatten(0, (RUNGS + 1, n))
    return Rewards(read[:RUNGS], read[RUNGS], at, label[neighbour] != label)


def train(data: Pictures, prompts: list[str], words, plan: Plan) -> ImageReward:
    torch.manual_seed(plan.seed)
    model = models.reward(words)
    training = Training(plan, model, PEAK, EMA, optimisers)
    tokens = model.words(prompts)

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        r = rewards(model, *batch(data, rng), tokens, rng)
        true, mild, strong = r.own
        pairs = torch.cat([true - mild, mild - strong, true - strong, r.mismatched])
        log = {"distorted": true > strong, "mild": true > mild, "mismatched": r.mismatched > 0}
        return -logsigmoid(pairs).mean(), {name: right.float().mean().item() for name, right in log.items()}

    training.run(loss_of)
    return standardised(training.averaged().eval(), data, tokens, rng_of(plan.seed, plan.steps))


@torch.no_grad()
def standardised(
    model: ImageReward, data: Pictures, words: dict[str, Tensor], rng: torch.Generator, batches: int = 50
) -> ImageReward:
    """The model with `mean` and `std` of its rewards over the mix that it was trained on."""
    mix = [rewards(model, *batch(data, rng), words, rng) for _ in range(batches)]
    r = torch.cat([torch.cat([one.own.flatten(), one.other[one.differs]]) for one in mix])
    model.config |= {"mean": r.mean().item(), "std": r.std().item()}
    return model


@torch.no_grad()
def right(model: ImageReward, data: Pictures, prompts: list[str], rng: torch.Generator) -> dict[str, float]:
    """Share in % of the true pictures that score above themselves distorted, by distortion, each held out and of a
    strength in [LEAST, 1], and above as many pictures of other prompts, `mismatched`."""
    above: dict[str, list[Tensor]] = {name: [] for name in (*(d.__name__ for d in HELD_OUT), "mismatched")}
    for k, prompt in enumerate(prompts):
        own = Pictures(*(x[data.label == k] for x in data))
        for distort in HELD_OUT:
            tried = subjects(own, distort)
            n = len(tried.label)
            strength = LEAST + (1 - LEAST) * torch.rand(n, generator=rng)
            images = ladder(tried.rgba.float() / 255, fronts(data, tried.label), distort, strength, rng)
            true, bad = model.score(images[[0, 2]].flatten(0, 1), prompt).chunk(2)
            above[distort.__name__].append(true > bad)
        others = (data.label != k).nonzero().flatten()
        other = data.rgba[others[torch.randint(len(others), own.label.shape, generator=rng)]]
        true = model.score(over_grey(own.rgba, rng), prompt)
        above["mismatched"].append(true > model.score(over_grey(other, rng), prompt))
    return {name: 100 * torch.cat(shares).float().mean().item() for name, shares in above.items()}
