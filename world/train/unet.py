"""Train the text-conditioned U-Net and its text encoder: plain v-prediction loss over pre-computed latents.

The weight is uniform in v, whose error is that of x0 where t is large: there SDI divides the error of eps by a small
alpha, so it must be small.
"""

from __future__ import annotations

import hashlib

import torch
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from priors.text import view_index
from scene.cameras import look_at
from world import models
from world.captions import caption
from world.dataset import CACHE, Pictures, over_grey
from world.train.run import Plan, Training, rng_of

BATCH, PEAK = 32, 1e-3


class Conditioned(nn.Module):
    """The U-Net with its text encoder, trained together."""

    def __init__(self, words):
        super().__init__()
        self.words, self.text, self.unet = words, models.text_encoder(words), models.unet()

    def embed(self, texts: list[str]) -> Tensor:
        tokens = self.words(texts, padding="max_length", truncation=True, max_length=models.TOKENS, return_tensors="pt")
        return self.text(tokens.input_ids.to(self.unet.device)).last_hidden_state


@torch.no_grad()
def latents(vae, data: Pictures, seed: int, grounds: int = 2) -> Tensor:
    """Posterior samples of every picture over `grounds` random backgrounds, (grounds, N, C, h, w) in half precision.
    Made once for an autoencoder and its pictures, and cached."""
    known = [v.numpy() for v in vae.state_dict().values()] + [data.rgba[::101].numpy()]
    key = hashlib.sha256(b"".join(v.tobytes() for v in known)).hexdigest()[:12]
    path = CACHE / f"latents-{key}-{seed}-{grounds}-{len(data.rgba)}.safetensors"
    if path.exists():
        return load_file(path)["latents"]
    rng, kept = rng_of(seed, 7), []
    for _ in range(grounds):
        for rgba in track(data.rgba.split(100), description="Encoding the pictures"):
            posterior = vae.encode(over_grey(rgba, rng) * 2 - 1).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=rng)
            kept.append((posterior.mean + posterior.std * noise).half())
    codes = torch.cat(kept).unflatten(0, (grounds, -1))
    save_file({"latents": codes}, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)
    return codes


def train(data: Pictures, codes: Tensor, prompts: list[str], words, plan: Plan) -> Conditioned:
    torch.manual_seed(plan.seed)
    model = Conditioned(words)
    model.unet.to(memory_format=torch.channels_last)
    training = Training(plan, model, PEAK, ema=0.9995)
    abar = models.scheduler().alphas_cumprod
    view = view_index(look_at(data.elevation, data.azimuth, 2.0, 40.0)).tolist()

    def loss_of(rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pick = torch.randint(codes.shape[1], (BATCH,), generator=rng)
        ground = torch.randint(len(codes), (BATCH,), generator=rng)
        x0 = codes[ground, pick].float()
        noise = torch.randn(x0.shape, generator=rng)
        t = ((torch.arange(BATCH) + torch.rand(BATCH, generator=rng)) * (1000 / BATCH)).long()  # one of each slice
        a, sigma = abar[t].sqrt().view(-1, 1, 1, 1), (1 - abar[t]).sqrt().view(-1, 1, 1, 1)
        texts = [caption(prompts[data.label[i]], data.azimuth[i].item(), view[i], rng) for i in pick.tolist()]
        every = sorted({text for first, second, _ in texts for text in (first, second)})
        place = {text: i for i, text in enumerate(every)}
        table = model.embed(every)
        firsts, seconds = [place[first] for first, *_ in texts], [place[second] for _, second, _ in texts]
        shares = torch.tensor([share for *_, share in texts])[:, None, None]
        condition = torch.lerp(table[firsts], table[seconds], shares)
        v = model.unet((a * x0 + sigma * noise).to(memory_format=torch.channels_last), t, condition).sample
        each = mse_loss(v, a * noise - sigma * x0, reduction="none").mean((1, 2, 3))
        late = each.detach()[t >= 700]
        return each.mean(), {"loss_t700": late.mean().item() if len(late) else float("nan")}

    training.run(loss_of)
    return training.averaged().eval()
