"""3D Gaussians: a cloud of coloured ellipsoids that grows where the pictures pull at it (3DGS, 2308.04079).

Alphabet: N Gaussians of mean, scale = e^s, rotation (a quaternion), opacity = sigmoid(o), colour = sigmoid(c), the same
from every side. g is the mean, over the views that showed a Gaussian since the last round, of the length of the loss's
gradient by its place in the picture, whose edges are at -1 and 1.

A round of densification: of the Gaussians with g above `split_above` times the mean of all, small ones are cloned,
large ones give way to two, drawn from them and 1.6 times smaller; then those too faint or too large go. The bound of
3DGS on g is a number, in the unit of its loss. Here it is a multiple: the gradients of rules differ by orders of
magnitude, and, as with Adam, none should grow more Gaussians for its unit. Adam's moments follow, and are 0 for what
is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scene.background import GREY, coloured, grey_background
from scene.base import Scene, SceneConfig
from scene.cameras import Cameras, Render, rays
from scene.splatting import Drawn, Splats, rotations, splat

SHRINK = 1.6  # of the scales of two that take one's place
RESET = 0.01  # the opacity that none keeps more than at a reset
SURFACE = 0.5  # opacity of what has a normal
TRAINED = ("mean", "scale", "rotation", "opacity", "colour")


@dataclass(frozen=True)
class GaussiansConfig(SceneConfig):
    """How many Gaussians, how they start, learn and multiply. The defaults are the known world's; `paper()` is
    LucidDreamer's (ISM, 2311.11284), on which Table 2 rests. Learning rates are multiples of the recipe's;
    lengths are in scene units, times in progress."""

    kind: ClassVar[str] = "gaussians"

    number: int = 1000  # at first
    most: int = 3000  # and never more
    radius: float = 0.4  # of the ball in which they start, evenly
    opacity: float = 0.1  # at first
    coloured: float = 0.0  # odds that a training view lies on one random colour instead of greys
    mean_lr: float = 0.2
    scale_lr: float = 1.0
    rotation_lr: float = 1.0
    opacity_lr: float = 3.0
    colour_lr: float = 3.0
    mean_decay: float = 0.1  # of its learning rate at the end, as a share of the first
    scale_decay: float = 1.0
    rotation_decay: float = 1.0
    colour_decay: float = 1.0
    densify_from: float = 0.1
    densify_until: float = 0.7
    densify_every: float = 0.05
    split_above: float = 2.0  # times the mean gradient
    split_larger: float = 0.02  # scale from which a Gaussian is split, not cloned
    prune_fainter: float = 0.005  # opacity
    prune_larger: float = 0.25  # scale
    reset_every: float = 0.0  # between two resets of the opacity, until `densify_until`; 0: none

    def build(self, rng: torch.Generator) -> Gaussians:
        return Gaussians(self, rng)

    @classmethod
    def paper(cls) -> GaussiansConfig:
        """For steps of 5,000 as fractions, with a learning rate of .005. Its scene is 3.5 units wide, in which .003
        divides cloned from split and .1 is too large. What it has beside is in docs/scenes.md."""
        return cls(
            number=100_000, most=1_000_000, radius=0.5, coloured=0.5,
            mean_lr=3.5 * 0.00016 / 0.005, rotation_lr=0.2, opacity_lr=10.0, colour_lr=1.0,
            mean_decay=0.01, scale_decay=0.2, rotation_decay=0.2, colour_decay=0.6,
            densify_from=100 / 5_000, densify_until=3_000 / 5_000, densify_every=100 / 5_000,
            split_larger=3.5 * 0.003, prune_larger=3.5 * 0.1, reset_every=300 / 5_000,
        )  # fmt: skip


class Gaussians(Scene):
    """A cloud of Gaussians. Their number changes; state is parameters and buffers alone."""

    mean: nn.Parameter
    scale: nn.Parameter
    rotation: nn.Parameter
    opacity: nn.Parameter
    colour: nn.Parameter
    pull: Tensor  # (N,) the sum of the gradients' lengths since the last round
    views: Tensor  # (N,) of how many views
    rounds: Tensor
    resets: Tensor

    def __init__(self, config: GaussiansConfig, rng: torch.Generator):
        super().__init__()
        c, n = config, config.number
        self.config = config
        direction = F.normalize(torch.randn(n, 3, generator=rng, device=rng.device), dim=-1)
        distance = c.radius * torch.rand(n, 1, generator=rng, device=rng.device) ** (1 / 3)
        spacing = c.radius * (4 / 3 * torch.pi / n) ** (1 / 3)  # the edge of a cube that each has to itself
        ones = torch.ones(n, 1, device=rng.device)
        self.mean = nn.Parameter(direction * distance)
        self.scale = nn.Parameter((ones * spacing).log().expand(n, 3).clone())
        self.rotation = nn.Parameter(ones * torch.tensor([1.0, 0, 0, 0], device=rng.device))
        self.opacity = nn.Parameter((ones[:, 0] * c.opacity).logit())
        self.colour = nn.Parameter(torch.zeros(n, 3, device=rng.device))
        for name in ("pull", "views"):
            self.register_buffer(name, torch.zeros(n, device=rng.device))
        for name in ("rounds", "resets"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64, device=rng.device))
        self._drawn: Drawn | None = None  # of the step that is being made

    def parameter_groups(self, lr: float) -> list[dict]:
        """Groups for Adam, one a kind of parameter; rates fall from `first_lr` by `decay`, as progress goes."""
        c = self.config
        rates = {
            "mean": (c.mean_lr, c.mean_decay),
            "scale": (c.scale_lr, c.scale_decay),
            "rotation": (c.rotation_lr, c.rotation_decay),
            "opacity": (c.opacity_lr, 1.0),
            "colour": (c.colour_lr, c.colour_decay),
        }
        return [
            {"params": [getattr(self, k)], "lr": lr * rate, "name": k, "first_lr": lr * rate, "decay": decay}
            for k, (rate, decay) in rates.items()
        ]

    def splats(self) -> Splats:
        """The Gaussians as they are seen."""
        opacity, colour = torch.sigmoid(self.opacity), torch.sigmoid(self.colour)
        return Splats(self.mean, self.scale.exp(), self.rotation, opacity, colour)

    def render(
        self,
        cameras: Cameras,
        resolution: int,
        progress: float = 1.0,
        rng: torch.Generator | None = None,
        shading: str = "albedo",
        normals: bool = False,
    ) -> Render:
        """Pictures of `resolution` squared. With rng, as in training: random backgrounds; without, as in evaluation:
        nothing is random. Normals are those of the surface that the depths are, 0 where it is less than half opaque or
        ends.

        Raises ValueError for a shading: a Gaussian has no surface to be lit."""
        if shading != "albedo":
            raise ValueError(f"Gaussians cannot be lit: their shading is albedo, not {shading!r}")
        drawn = splat(self.splats(), cameras, resolution)
        if torch.is_grad_enabled():
            drawn.centre.retain_grad()
            self._drawn = drawn
        origin, direction = rays(cameras, resolution, resolution)
        ahead = -cameras.c2w[:, :3, 2]
        depth = drawn.z / torch.einsum("bhwi,bi->bhw", direction, ahead)[:, None]
        rgb = drawn.colour + (1 - drawn.opacity) * self._behind(len(cameras), resolution, rng, drawn.colour)
        normal = None
        if normals:
            at = origin + direction * (depth / drawn.opacity.clamp(min=SURFACE))[:, 0, :, :, None]
            normal = surface_normals(at, drawn.opacity, cameras)
        return Render(rgb, drawn.opacity, depth, normal)

    def _behind(
        self, n: int, resolution: int, rng: torch.Generator | None, like: Tensor
    ) -> Float[Tensor, "B 3 H W"] | float:
        """What the Gaussians are laid over."""
        if rng is None:
            return GREY
        behind = grey_background(n, resolution, resolution, rng).to(like)
        return coloured(behind, self.config.coloured, rng) if self.config.coloured else behind

    @torch.no_grad()
    def after_step(
        self, render: Render, optimizer: torch.optim.Optimizer, progress: float, rng: torch.Generator
    ) -> None:
        """Count what pulls at the Gaussians, and when it is time, let them multiply, go, or fade."""
        c = self.config
        for group in optimizer.param_groups:
            group["lr"] = group["first_lr"] * group["decay"] ** progress
        self._count()
        if progress >= c.densify_until:
            return
        if _due(progress - c.densify_from, c.densify_every, self.rounds):
            self._densify(optimizer, rng)
        if c.reset_every and _due(progress - c.reset_every, c.reset_every, self.resets):
            faded = self.opacity.clamp(max=torch.tensor(RESET).logit().item())
            everyone = torch.arange(len(faded), device=faded.device)
            self._become(optimizer, "opacity", faded, everyone, torch.ones_like(everyone).bool())

    def _count(self) -> None:
        """Add up the gradients of the step that was made."""
        drawn, self._drawn = self._drawn, None
        if drawn is None or drawn.centre.grad is None:
            return
        half, batch = drawn.colour.shape[-1] / 2, len(drawn.colour)  # the loss is a mean over views
        self.pull += (half * batch * drawn.centre.grad.norm(dim=-1) * drawn.seen).sum(0)
        self.views += drawn.seen.sum(0)

    def _densify(self, optimizer: torch.optim.Optimizer, rng: torch.Generator) -> None:
        """A round: clone, split and prune."""
        c = self.config
        clone, split = self._chosen()
        stay, double = (~split).nonzero()[:, 0], split.nonzero()[:, 0].repeat(2)
        source = torch.cat([stay, clone.nonzero()[:, 0], double])
        new = torch.arange(len(source), device=source.device) >= len(stay)
        mean, scale = self.mean[source], self.scale[source]
        if len(double):
            normal = torch.randn(len(double), 3, generator=rng, device=rng.device).to(mean)
            offset = rotations(self.rotation[double]) @ (normal * scale[-len(double) :].exp())[:, :, None]
            mean[-len(double) :] += offset[:, :, 0]
            scale[-len(double) :] -= torch.tensor(SHRINK).log().item()
        opacity = torch.sigmoid(self.opacity[source])
        kept = (opacity >= c.prune_fainter) & (scale.exp().amax(-1) <= c.prune_larger)
        kept[opacity.argmax()] = True  # a scene that has faded can grow again
        moved = {"mean": mean, "scale": scale}
        for name in TRAINED:
            value = moved[name] if name in moved else getattr(self, name)[source]
            self._become(optimizer, name, value[kept], source[kept], new[kept])
        self.pull, self.views = torch.zeros_like(self.opacity), torch.zeros_like(self.opacity)

    def _chosen(self) -> tuple[Bool[Tensor, " N"], Bool[Tensor, " N"]]:
        """Which Gaussians to clone, and which to split: as many as there is room for, those most pulled at."""
        c, n = self.config, len(self.mean)
        g = self.pull / self.views.clamp(min=1)
        pulled = g > c.split_above * g[self.views > 0].sum() / (self.views > 0).sum().clamp(min=1)
        room = min(max(c.most - n, 0), int(pulled.sum()))
        most = torch.zeros_like(pulled)
        most[(g * pulled).argsort(descending=True, stable=True)[:room]] = True
        large = self.scale.exp().amax(-1) > c.split_larger
        return most & ~large, most & large

    def _become(
        self,
        optimizer: torch.optim.Optimizer,
        name: str,
        value: Float[Tensor, "M ..."],
        source: Int[Tensor, " M"],
        new: Bool[Tensor, " M"],
    ) -> None:
        """Take another parameter of that name; the optimiser's state comes from the source, and is 0 where new."""
        (group,) = (g for g in optimizer.param_groups if g["name"] == name)
        (old,), now = group["params"], nn.Parameter(value)
        optimizer.state[now] = {
            k: v[source].masked_fill(new.view(-1, *[1] * (v.ndim - 1)), 0) if v.ndim else v
            for k, v in optimizer.state.pop(old, {}).items()
        }
        group["params"] = [now]
        setattr(self, name, now)

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take a checkpoint's state, of however many Gaussians. Raises RuntimeError where their numbers differ."""
        own = {k: v for k, v in (*self.named_parameters(), *self.named_buffers()) if v.ndim and k in state}
        if len({len(state[k]) for k in own}) > 1 or any(state[k].shape[1:] != v.shape[1:] for k, v in own.items()):
            raise RuntimeError("it does not hold as much of each Gaussian")
        for name, tensor in own.items():
            tensor.data = tensor.data.new_empty(state[name].shape)
        super().restore(state)


def surface_normals(
    at: Float[Tensor, "B H W 3"], opacity: Float[Tensor, "B 1 H W"], cameras: Cameras
) -> Float[Tensor, "B 3 H W"]:
    """Normals of the surface through the points that pixels show: unit vectors in camera space, weighted by opacity, by
    differences of neighbours. 0 where one of these is not opaque, and along the picture's border."""
    local = torch.einsum("bji,bhwj->bihw", cameras.c2w[:, :3, :3], at)  # turned; where the camera is does not matter
    right = local[:, :, 1:-1, 2:] - local[:, :, 1:-1, :-2]
    up = local[:, :, :-2, 1:-1] - local[:, :, 2:, 1:-1]
    normal = F.normalize(torch.linalg.cross(right, up, dim=1), dim=1)
    solid = (opacity > SURFACE).to(at)
    around = -F.max_pool2d(-solid, 3, stride=1)
    return F.pad(normal * around * opacity[:, :, 1:-1, 1:-1], (1, 1, 1, 1))


def _due(elapsed: float, every: float, done: Tensor) -> bool:
    """Whether it is time again, once at 0 and then at every multiple; counts in `done`."""
    times = int(elapsed / every + 1e-6) + 1 if elapsed > -1e-6 else 0
    if times <= done:
        return False
    done.fill_(times)
    return True
