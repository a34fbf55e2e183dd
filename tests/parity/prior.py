"""The recorded models as a Prior: a U-Net and a VAE without a text encoder, since the recordings hold embeddings.

The network is run, and its outputs are compared with the recorded ones of the same inputs. Its rounding differs
between machines by some 1e-6 of the peak, which a scale of 100 multiplies; so, where a row agrees, the recorded row
goes on, and what is compared from there is the product's own algebra.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from errors import UserError
from priors.base import Prior
from priors.schedule import Schedule
from tests.parity.recording import Case, error_of


class RecordedPrior(Prior):
    """Remembers each call of the network, (x_t, t), and the error of each row that the recording holds."""

    def __init__(self, folder: Path):
        try:
            scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
            self.unet = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=True).eval()
            vae = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=True).eval()
            self.vae = torch.nn.Module.to(vae, torch.float64)  # its gradient is compared: ours is without rounding
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UserError(f"{folder} cannot be opened as a model ({error}); restore it.") from None
        # the official codes' cumulative product, rounded to single precision at every step
        self.schedule = Schedule(scheduler.alphas_cumprod.double())
        self.predicts = scheduler.config.prediction_type
        self.unet.requires_grad_(False)
        self.vae.requires_grad_(False)
        size = self.unet.config.sample_size
        self.latent_shape = (self.unet.config.in_channels, size, size)
        self.image_size = self.vae.config.sample_size
        self.listen_to(None, 0.0)

    def listen_to(self, case: Case | None, limit: float) -> None:
        """Take the recorded calls of a case; outputs agree with them up to `limit` of their peak."""
        self.calls: list[tuple[Tensor, Tensor]] = []
        self.errors: list[float] = []
        self.limit, self.known = limit, []
        self.items = len(case["out.t"]) if case and "out.t" in case else 0
        for k in range(len(case.series("unet", "out")) if case else 0):
            if f"unet.{k:02}.class_labels" in case:  # a call of a student
                continue
            x, t, text, out = (
                case[f"unet.{k:02}.{key}"] for key in ("sample", "timestep", "encoder_hidden_states", "out")
            )
            tiled = (y.repeat(len(out) // len(y), *[1] * (y.ndim - 1)) for y in (x, t, text))
            self.known += zip(*tiled, out, strict=True)

    def encode(self, image: Tensor, rng: torch.Generator) -> Tensor:
        size = (self.image_size, self.image_size)
        if image.shape[-2:] != size:
            image = functional.interpolate(image, size, mode="bilinear", align_corners=False)
        posterior = self.vae.encode(2 * image.double() - 1).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=rng)
        return ((posterior.mean + posterior.std * noise) * self.vae.config.scaling_factor).to(image.dtype)

    def decode(self, latent: Tensor) -> Tensor:
        image = self.vae.decode(latent.double() / self.vae.config.scaling_factor).sample
        return (image / 2 + 0.5).clamp(0, 1).to(latent.dtype)

    def embed(self, prompts: list[str]) -> Tensor:
        raise UserError("The recorded models have no tokenizer: their texts come from the recording.")

    def network(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        out = self.output(x_t, t, text)
        return self.schedule.eps_of_v(x_t, out, t) if self.predicts == "v_prediction" else out

    def output(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """What the network predicts, eps or v."""
        self.calls.append((x_t, t))
        out = self.unet(x_t, t, encoder_hidden_states=text).sample
        return torch.stack([self._as_recorded(*row) for row in zip(x_t, t, text, out, strict=True)])

    def _as_recorded(self, x: Tensor, t: Tensor, text: Tensor, out: Tensor) -> Tensor:
        for x_known, t_known, text_known, out_known in self.known:
            if t == t_known and error_of(text, text_known) < 1e-5 and error_of(x, x_known) <= self.limit:
                self.errors.append(error_of(out, out_known))
                return out_known if self.errors[-1] <= self.limit else out
        return out
