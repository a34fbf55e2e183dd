"""The student eps_phi of VSD and ESD: a network that starts as the prior and is trained on the current renders.

Alphabet: phi its trained weights; x0, x_t, t, eps as in priors/base.py; text (B,L,D), without view words; camera
(B,4,4) camera to world, all zero where it is left out; `out` what the network predicts, eps or v = a eps - sigma x0.

    loss = mean |out_phi(x_t, t, text, camera) - target|^2,   t ~ U{0, ..., T - 1},   eps ~ N(0, I)

phi starts where the prior stands: what is added to it begins at zero (the official codes start their camera MLP at
random). AdamW is threestudio's: betas .9 and .99, eps 1e-15, weight decay .01.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from errors import UserError
from priors.base import Prior
from priors.schedule import per_item, randn_like

ADAPTER = "phi"
# where adapters sit, by a U-Net's names: the projections of its attentions, or its residual blocks' convolutions too
ADAPTED = {"attention": ["to_q", "to_k", "to_v", "to_out.0"]}
ADAPTED["everywhere"] = [*ADAPTED["attention"], "conv1", "conv2"]
MEASURE_EVERY = 5  # updates between two looks at the frozen network's loss
MEMORY = 0.9  # of the running sums of both losses, a look


class Student(ABC):
    """Trained state of a method: `parameters` by name, their optimiser, and running sums of two losses.

    Its calls are counted by the prior: `eps` is one, and so is each update.
    """

    predicts = "epsilon"  # or "v_prediction"

    def __init__(self, prior: Prior, parameters: dict[str, nn.Parameter], lr: float):
        self.prior, self.parameters = prior, parameters
        self.optimizer = torch.optim.AdamW(parameters.values(), lr=lr, betas=(0.9, 0.99), eps=1e-15)
        self.updates = 0
        self.losses = torch.zeros(2, dtype=torch.float64)  # of phi, of the frozen network

    @abstractmethod
    def predict(
        self,
        x_t: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        text: Float[Tensor, "B L D"],
        camera: Float[Tensor, "B 4 4"],
    ) -> Float[Tensor, "B C h w"]:
        """What phi predicts, in its own parameterisation. Differentiable in phi."""

    @torch.no_grad()
    def eps(
        self,
        x_t: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        text: Float[Tensor, "B L D"],
        camera: Float[Tensor, "B 4 4"],
    ) -> Float[Tensor, "B C h w"]:
        """eps_phi, counted."""
        self._count(len(x_t))
        out = self.predict(x_t, t.to(x_t.device), text, camera)
        return self.prior.schedule.eps_of_v(x_t, out, t) if self.predicts == "v_prediction" else out

    def update(
        self,
        x0: Float[Tensor, "B C h w"],
        text: Float[Tensor, "B L D"],
        camera: Float[Tensor, "B 4 4"],
        rng: torch.Generator,
        samples: int = 1,
        drop: float = 0.1,
    ) -> dict[str, float]:
        """One step on `samples` noised copies of each view, the camera of each left out with probability `drop`.

        Returns the loss, and the ratio of its running sum to the frozen network's on the same noise, where measured.
        That measurement is no part of a rule, and is not counted.
        """
        x0, text, camera = (y.repeat(samples, *[1] * (y.ndim - 1)) for y in (x0, text, camera))
        schedule, n = self.prior.schedule, len(x0)
        t = torch.randint(0, len(schedule), (n,), generator=rng, device=rng.device).to(x0.device)
        eps = randn_like(x0, rng)
        if drop > 0:
            kept = torch.rand(n, generator=rng, device=rng.device) >= drop
            camera = camera * per_item(kept.float(), camera)
        x_t = schedule.noised(x0, eps, t)
        target = schedule.v_of(x0, eps, t) if self.predicts == "v_prediction" else eps
        self._count(n)
        with torch.enable_grad():
            out = self.predict(x_t, t, text, camera)
            loss = functional.mse_loss(out.float(), target.float())
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        if self.updates % MEASURE_EVERY == 0:
            frozen = functional.mse_loss(self._frozen(x_t, t, text).float(), target.float())
            self.losses = MEMORY * self.losses + torch.tensor([loss.item(), frozen.item()], dtype=torch.float64)
        self.updates += 1
        phi, frozen_sum = self.losses.tolist()
        return {"phi_loss": loss.item(), "phi_over_frozen": phi / frozen_sum}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changes: tensors and numbers in nested dicts."""
        return {
            "phi": {name: p.detach() for name, p in self.parameters.items()},
            "adam": self.optimizer.state_dict(),
            "losses": self.losses,
            "updates": self.updates,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, p in self.parameters.items():
            p.copy_(state["phi"][name])
        self.optimizer.load_state_dict(state["adam"])
        self.losses, self.updates = state["losses"].clone(), state["updates"]

    def _count(self, rows: int) -> None:
        self.prior.nfe += 1
        self.prior.rows += rows

    @torch.no_grad()
    def _frozen(self, x_t: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """What the prior predicts without phi, in phi's parameterisation."""
        eps, schedule = self.prior.network(x_t, t, text), self.prior.schedule
        return schedule.v_of(schedule.x0_of(x_t, eps, t), eps, t) if self.predicts == "v_prediction" else eps


class LoRAStudent(Student):
    """A U-Net with low-rank adapters on every projection of every attention (and, where they are asked for, on its
    convolutions), and an MLP of the camera added to the embedding of time. It shares the weights of the U-Net it is
    given, and leaves that as it is."""

    def __init__(
        self, prior: Prior, unet: Any, predicts: str, rank: int = 4, lr: float = 1e-4, adapt: str = "attention"
    ):
        self.predicts, self.dtype = predicts, unet.dtype
        self.unet = with_adapters(unet, rank, adapt)
        trained = {name: p for name, p in self.unet.named_parameters() if p.requires_grad}
        super().__init__(prior, trained, lr)

    def predict(
        self,
        x_t: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        text: Float[Tensor, "B L D"],
        camera: Float[Tensor, "B 4 4"],
    ) -> Float[Tensor, "B C h w"]:
        out = self.unet(
            x_t.to(self.dtype),
            t,
            encoder_hidden_states=text.to(self.dtype),
            class_labels=camera.flatten(1).to(x_t.device, torch.float32),
        )
        return out.sample.contiguous().to(x_t.dtype)


def with_adapters(unet: Any, rank: int, adapt: str = "attention") -> Any:
    """A second U-Net over the same weights, with adapters and a camera MLP in single precision: these alone learn."""
    from diffusers.models.embeddings import TimestepEmbedding
    from peft import LoraConfig

    shared = {id(tensor): tensor for tensor in (*unet.parameters(), *unet.buffers())}
    twin = copy.deepcopy(unet, shared).requires_grad_(False)  # what the memo holds is not copied
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # adapters start alike in every job
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=ADAPTED[adapt], init_lora_weights="gaussian")
        twin.add_adapter(config, ADAPTER)
        camera = TimestepEmbedding(16, unet.time_embedding.linear_2.out_features)
    nn.init.zeros_(camera.linear_2.weight)
    nn.init.zeros_(camera.linear_2.bias)
    twin.class_embedding = camera.to(unet.device)
    for p in (p for name, p in twin.named_parameters() if "lora_" in name or name.startswith("class_embedding")):
        p.data = p.data.float()
        p.requires_grad_(True)
    return twin


class AffineStudent(Student):
    """For priors without a U-Net: eps_phi = (1 + alpha) eps + beta x_t + m, where the prior gives eps, and an MLP of
    time and camera the numbers alpha, beta and the image m, which start at 0."""

    WAVES, HIDDEN = 4, 64

    def __init__(self, prior: Prior, lr: float = 1e-4):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = nn.Linear(16 + 2 * self.WAVES, self.HIDDEN)
            last = nn.Linear(self.HIDDEN, 2 + math.prod(prior.latent_shape))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(first, nn.SiLU(), last)
        super().__init__(prior, dict(self.mlp.named_parameters()), lr)

    def predict(
        self,
        x_t: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        text: Float[Tensor, "B L D"],
        camera: Float[Tensor, "B 4 4"],
    ) -> Float[Tensor, "B C h w"]:
        with torch.no_grad():
            eps = self.prior.network(x_t, t, text)
        angle = math.pi * t.cpu()[:, None] / len(self.prior.schedule) * torch.arange(1, self.WAVES + 1)
        out = self.mlp(torch.cat([angle.sin(), angle.cos(), camera.flatten(1).cpu().float()], 1)).to(x_t)
        alpha, beta, m = out[:, 0], out[:, 1], out[:, 2:].reshape(x_t.shape)
        return (1 + per_item(alpha, eps)) * eps + per_item(beta, eps) * x_t + m


def make_student(prior: Prior, folder: str = "", rank: int = 4, lr: float = 1e-4, adapt: str = "attention") -> Student:
    """The student of a prior. `folder` is that of another Stable Diffusion whose U-Net phi starts as (ProlificDreamer
    takes 2.1 where the prior is 2.1-base); without it phi starts as the prior. `adapt` is a key of ADAPTED.
    Raises UserError if they do not fit."""
    if adapt not in ADAPTED:
        raise UserError(f"A student's adapters sit on {' or '.join(ADAPTED)}, not on {adapt!r}.")
    unet = getattr(prior, "unet", None)
    if unet is None:
        if folder:
            raise UserError(f"phi starts as the U-Net of {folder}, but this prior has none: leave the folder out.")
        return AffineStudent(prior, lr)
    predicts = prior.prediction  # type: ignore[attr-defined]
    if folder:
        from priors import stable_diffusion

        other, predicts = network_of(folder, stable_diffusion.checksum(folder), unet.device, unet.dtype)
        for name in ("in_channels", "out_channels", "cross_attention_dim"):
            if other.config[name] != unet.config[name]:
                raise UserError(f"phi cannot start as the U-Net of {folder}: its {name} differs from the prior's.")
        unet = other
    return LoRAStudent(prior, unet, predicts, rank, lr, adapt)


@lru_cache(maxsize=1)
def network_of(folder: str, checksum: str, device: torch.device, dtype: torch.dtype) -> tuple[Any, str]:
    """The U-Net of another prior and what it predicts, kept for the next job while its folder has that checksum."""
    from priors import stable_diffusion

    other: Any = stable_diffusion.load(folder, device, dtype)
    return other.unet, other.prediction
