"""Train the text-conditioned U-Net and its text encoder: plain v-prediction loss over pre-computed latents.

The weight is uniform in v, whose error is that of x0 where t is large: there SDI divides the error of eps by a small
alpha, so it must be small. Everything lies on the device: latents, the texts' tokens, draws. The text encoder learns
with the U-Net throughout, at a rate of its own: at Muon's, and frozen after 600 steps, it had not told all toys apart.

Finished weights may teach (`Plan.teach`): then every caption is true, and the answer without a text learns what the
moving average of the weights says of the true one. Its best value is the mean of those answers, as of the pictures, but
they have no noise of their own, and guidance scales the difference of the two.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import mse_loss

from errors import UserError
from priors.text import view_index
from scene.cameras import look_at
from world import models
from world.captions import TRUE, WEB, Captions, draw, every_caption
from world.dataset import CACHE, Pictures, over_grey
from world.train.run import Plan, Training, muon_and_adamw, rng_of

BATCH = {"cpu": 64, "cuda": 2048}
PEAK, ADAMW, EMA = 5e-3, 1e-3, 0.998  # learning rates of Muon and of AdamW; of the average
AGAIN, TAUGHT = 0.3, 0.2  # shares of these rates where finished weights learn on, or from themselves: higher ones undo
EMPTY = 0.5  # share of the captions that are empty where finished weights teach


class Conditioned(nn.Module):
    """The U-Net with its text encoder, trained together."""

    tokens: Tensor

    def __init__(self, words, prompts: list[str]):
        super().__init__()
        self.words, self.text, self.unet = words, models.text_encoder(words), models.unet()
        tokens = words(every_caption(prompts), padding="max_length", truncation=True, max_length=models.TOKENS)
        self.register_buffer("tokens", torch.tensor(tokens["input_ids"]), persistent=False)

    def embed(self, texts: Tensor) -> Tensor:
        """Embeddings (n, L, D) of texts by their places (n,) in `every_caption`."""
        return self.text(self.tokens[texts]).last_hidden_state

    def begin_with(self, folder: Path) -> None:
        """Take the weights of a trained prior of this world, a Stable Diffusion folder. Raises UserError where they
        are those of other sizes."""
        for part, name in ((self.unet, "unet/diffusion_pytorch_model"), (self.text, "text_encoder/model")):
            try:
                part.load_state_dict({k: v.float() for k, v in load_file(folder / f"{name}.safetensors").items()})
            except RuntimeError as error:
                raise UserError(
                    f"{folder} is not a prior of this world's sizes: {str(error).splitlines()[0]}"
                ) from None


def optimisers(model: nn.Module, peak: float) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices and kernels of the U-Net, AdamW for all else."""

    def hidden(name: str, weight: nn.Parameter) -> bool:
        ends = name.startswith(("unet.conv_in", "unet.conv_out"))
        return name.startswith("unet.") and not ends and weight.ndim >= 2

    return muon_and_adamw(model, hidden, peak, ADAMW * peak / PEAK)


@torch.no_grad()
def latents(vae, data: Pictures, seed: int, grounds: int = 2) -> Tensor:
    """Posterior samples of every picture over `grounds` random backgrounds, (grounds, N, C, h, w) in half precision.
    Made once for an autoencoder and its pictures, and cached."""
    known = [v.cpu().numpy() for v in vae.state_dict().values()] + [data.rgba[::101].numpy()]
    key = hashlib.sha256(b"".join(v.tobytes() for v in known)).hexdigest()[:12]
    path = CACHE / f"latents-{key}-{seed}-{grounds}-{len(data.rgba)}.safetensors"
    if path.exists():
        return load_file(path)["latents"]
    rng, kept = rng_of(seed, 7), []
    for _ in range(grounds):
        for rgba in track(data.rgba.split(100), description="Encoding the pictures"):
            with torch.autocast(vae.device.type, torch.bfloat16, enabled=fast(vae.device.type)):
                posterior = vae.encode(over_grey(rgba, rng).to(vae.device) * 2 - 1).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=rng).to(vae.device)
            kept.append((posterior.mean + posterior.std * noise).half().cpu())
    codes = torch.cat(kept).unflatten(0, (grounds, -1))
    save_file({"latents": codes}, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return codes


def fast(device: str) -> bool:
    """Whether the device computes in bfloat16 faster than in single precision."""
    return device == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def train(data: Pictures, codes: Tensor, prompts: list[str], words, plan: Plan) -> Conditioned:
    torch.manual_seed(plan.seed)
    device, batch, toys = plan.device, BATCH[plan.device], len(prompts)
    model = Conditioned(words, prompts)
    if plan.start:
        model.begin_with(plan.start)
    model.to(device)
    model.unet.to(memory_format=torch.channels_last)
    share = TAUGHT if plan.teach else AGAIN if plan.start else 1
    training = Training(plan, model, PEAK * share, EMA, optimisers)
    teacher = copy.deepcopy(model).eval().requires_grad_(False) if plan.teach else None
    if teacher:
        teacher.load_state_dict(training.average, strict=False, assign=True)  # its weights are the average's, always
    unet = torch.compile(model.unet) if device == "cuda" else model.unet
    abar = models.scheduler().alphas_cumprod.to(device)
    view = view_index(look_at(data.elevation, data.azimuth, 2.0, 40.0)).to(device)
    codes, label, azimuth = codes.to(device), data.label.to(device), data.azimuth.to(device)
    slices = torch.arange(batch, device=device)

    def answer(of: Conditioned, net: Callable[..., Any], noisy: Tensor, t: Tensor, told: Captions) -> Tensor:
        texts, place = torch.cat([told.first, told.second]).unique(return_inverse=True)
        one, two = of.embed(texts)[place].chunk(2)
        # for sixteen tokens, plain attention is several times faster than the kernels for long texts
        with torch.autocast(device, torch.bfloat16, enabled=fast(device)), sdpa_kernel(SDPBackend.MATH):
            return net(noisy, t, torch.lerp(one, two, told.share.view(-1, 1, 1))).sample.float()

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor | float]]:
        pick = torch.randint(codes.shape[1], (batch,), generator=rng, device=device)
        ground = torch.randint(len(codes), (batch,), generator=rng, device=device)
        x0 = codes[ground, pick].float()
        noise = torch.randn(x0.shape, generator=rng, device=device)
        t = slices + torch.rand(batch, generator=rng, device=device)  # one of each slice of the schedule
        t = (t * (len(abar) / batch)).long()
        a, sigma = abar[t].sqrt().view(-1, 1, 1, 1), (1 - abar[t]).sqrt().view(-1, 1, 1, 1)
        told = draw(label[pick], azimuth[pick], view[pick], toys, rng, TRUE if teacher else WEB)
        noisy = (a * x0 + sigma * noise).to(memory_format=torch.channels_last)
        goal = a * noise - sigma * x0
        if teacher is None:
            each = apart(answer(model, unet, noisy, t, told), goal)
            return each.mean(), {"loss_t700": each.detach()[t >= 700].mean()}
        empty = torch.rand(batch, generator=rng, device=device) < EMPTY
        asked = Captions(*(part[empty] for part in told))
        with torch.no_grad():
            goal[empty] = answer(teacher, teacher.unet, noisy[empty], t[empty], asked)
        first, second = (torch.where(empty, 0, text) for text in told[:2])
        each = apart(answer(model, unet, noisy, t, Captions(first, second, told.share)), goal)
        return each.mean(), {"empty": each.detach()[empty].mean(), "told": each.detach()[~empty].mean()}

    training.run(loss_of)
    return training.averaged().eval()


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Mean squares of differences, of each of B."""
    return mse_loss(a, b, reduction="none").mean((1, 2, 3))
