"""Train the autoencoder: L1 and L2 of the picture, and a light KL that keeps the latents smooth.

Afterwards each latent channel is whitened over the dataset, and the whitening is folded into `quant_conv` and
`post_quant_conv`, so that latents have mean 0 and standard deviation 1 and the folder needs no scaling factor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from eval.truth import detail
from world import models
from world.dataset import Pictures, over_grey
from world.train.run import Plan, Training, rng_of

BATCH, PEAK, KL = 16, 2e-3, 1e-4
CROPPED = 0.7  # share of the steps on crops of 48x48 around the middle


def train(data: Pictures, plan: Plan) -> AutoencoderKL:
    torch.manual_seed(plan.seed)
    training = Training(plan, models.vae().to(memory_format=torch.channels_last), PEAK)
    model = training.model

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pick = torch.randint(len(data.rgba), (BATCH,), generator=rng)
        image = over_grey(data.rgba[pick], rng) * 2 - 1
        if training.step < CROPPED * plan.steps:  # most of the margin is flat: half the cost, nothing lost
            y, x = torch.randint(4, 13, (2,), generator=rng).tolist()
            image = image[..., y : y + 48, x : x + 48]
        posterior = model.encode(image).latent_dist
        latent = posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng)
        error = model.decode(latent).sample - image
        l2 = error.square().mean()
        loss = l2 + 0.1 * error.abs().mean() + KL * posterior.kl().mean() / latent[0].numel()
        return loss, {"psnr": -10 * torch.log10(l2.detach() / 4).item()}

    training.run(loss_of)
    return whiten(training.averaged().eval(), data, rng_of(plan.seed, 0))


@torch.no_grad()
def whiten(model: AutoencoderKL, data: Pictures, rng: torch.Generator, n: int = 2000) -> AutoencoderKL:
    """Fold the per-channel mean and standard deviation of the latents into the convolutions around them."""
    pick = torch.randint(len(data.rgba), (n,), generator=rng)
    z = torch.cat([model.encode(over_grey(data.rgba[p], rng) * 2 - 1).latent_dist.mean for p in pick.split(50)])
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    c = len(mean)
    quant, post = model.quant_conv, model.post_quant_conv
    quant.weight[:c] /= std[:, None, None, None]
    quant.bias[:c] = (quant.bias[:c] - mean) / std
    quant.bias[c:] -= 2 * std.log()  # the second half are log-variances
    bias = post.bias + F.conv2d(mean[None, :, None, None], post.weight).flatten()
    post.bias.copy_(bias)
    post.weight *= std[None, :, None, None]
    return model


@torch.no_grad()
def rebuilt(model: AutoencoderKL, data: Pictures, rng: torch.Generator) -> tuple[float, float]:
    """Of pictures over fresh greys, encoded and decoded: mean PSNR in dB, and mean detail as a share of theirs."""
    values, shares = [], []
    for rgba in data.rgba.split(50):
        image = over_grey(rgba, rng)
        back = model.decode(model.encode(image * 2 - 1).latent_dist.mean).sample.clamp(-1, 1) / 2 + 0.5
        values.append(-10 * (back - image).square().mean((1, 2, 3)).log10())
        shares.append(detail(back) / detail(image))
    return torch.cat(values).mean().item(), torch.cat(shares).nanmean().item()
