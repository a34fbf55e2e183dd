"""The views of a scene: rendered from the recipe's orbit, and written beside it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from engine.training import Training
from files import replaced
from scene.cameras import Cameras, Render
from scene.voxels import Voxels

CHUNK = 5  # views rendered together at the end


@torch.no_grad()
def evaluate(training: Training) -> Render:
    """The views of the recipe's orbit: albedo for every rule, on the background of evaluation."""
    cameras, look = training.job.recipe.orbit.cameras(), _decoded if training.latent else _rendered
    renders = [look(training, cameras[k : k + CHUNK].to(training.device)) for k in range(0, len(cameras), CHUNK)]
    rgb, opacity, depth = (torch.cat([getattr(r, name) for r in renders]) for name in ("rgb", "opacity", "depth"))
    return Render(rgb, opacity, depth)


def _rendered(training: Training, cameras: Cameras) -> Render:
    return training.scene.render(cameras, training.job.recipe.orbit.resolution, progress=1.0)


def _decoded(training: Training, cameras: Cameras) -> Render:
    """Latents, decoded; those of voxels at twice the resolution of the pictures wanted, and averaged down to it, as
    SJC's are."""
    prior, size = training.prior, training.job.recipe.orbit.resolution
    finer = 2 if isinstance(training.scene, Voxels) else 1
    render = training.scene.render(cameras, finer * size * prior.latent_shape[-1] // prior.image_size, progress=1.0)
    rgb, opacity, depth = (
        F.interpolate(image, (size, size), mode="bilinear", antialias=True)
        for image in (prior.decode(render.rgb), render.opacity, render.depth)
    )
    return Render(rgb, opacity, depth)


def write_result(folder: Path, scene: torch.nn.Module, views: Render | None) -> None:
    """scene.safetensors, and views/rgb_000.png, views/opacity_000.png, ... in 8 bits."""
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in scene.state_dict().items()}
    replaced(folder / "scene.safetensors", lambda aside: save_file(state, aside))
    if views is None:
        return
    (folder / "views").mkdir()
    for k, (rgb, opacity) in enumerate(zip(eight_bits(views.rgb), eight_bits(views.opacity), strict=True)):
        Image.fromarray(rgb.numpy()).save(folder / "views" / f"rgb_{k:03d}.png")
        Image.fromarray(opacity[..., 0].numpy()).save(folder / "views" / f"opacity_{k:03d}.png")


def eight_bits(image: Float[Tensor, "V C H W"]) -> Tensor:
    """(V,H,W,C) in 0 ... 255, rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu()
