"""What lies behind a scene is seen as far as the scene lets light through, and no further: rgb = C + (1 - O) b, with C
and O of the scene alone (NeRF, 2003.08934, eq. 3, with an opaque wall behind). True of every kind of scene, whatever
fills it: a rule pulls at an object, and not at what it is shown on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import scene.gaussians
import scene.nerf
from scene.background import LearnedBackground
from scene.cameras import CameraRange
from scene.canvas import CanvasConfig
from scene.gaussians import GaussiansConfig
from scene.nerf import NeRFConfig
from scene.scenes import SCENES
from scene.voxels import VoxelConfig

NERF = NeRFConfig(levels=3, log2_table=9, base=4, finest=16, start_levels=3, hidden=8, samples=32, occupancy=16)
KINDS = {
    "nerf": NERF,
    "nerf-learned": replace(NERF, background="learned"),
    "nerf-thin": replace(NERF, blob_strength=1.0),
    "gaussians": GaussiansConfig(number=60, opacity=0.6),
    "voxels": VoxelConfig(size=8, radius=0.6),
    "canvas": CanvasConfig(size=12),
}
BLACK, WHITE = 0.0, 1.0


@pytest.fixture(params=list(KINDS))
def seen(request, monkeypatch):
    """Renders of one scene, as in training: of what all that lies behind it is one `colour`, with equal chances."""
    made = KINDS[request.param].build(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for k, p in enumerate(made.parameters()):
            p += 0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(k))
    cameras = CameraRange().sample(2, torch.Generator().manual_seed(5))

    def render(colour):
        def wall(n, height, width, rng):
            return torch.full((n, 3, height, width), colour)

        for module in (scene.nerf, scene.gaussians):
            monkeypatch.setattr(module, "grey_background", wall)
        monkeypatch.setattr(LearnedBackground, "forward", lambda self, d: torch.full((len(d), 3), colour))
        if isinstance(KINDS[request.param], VoxelConfig):
            made.background.data.fill_(colour)
        return made, made.render(cameras, 12, rng=torch.Generator().manual_seed(1))

    return render


def test_every_kind_of_scene_is_here():
    assert {config.kind for config in KINDS.values()} == set(SCENES)


def test_a_view_is_its_scene_over_what_lies_behind(seen):
    (_, black), (_, white) = seen(BLACK), seen(WHITE)
    assert torch.equal(black.opacity, white.opacity)
    assert torch.equal(black.depth, white.depth)
    torch.testing.assert_close(white.rgb - black.rgb, (1 - black.opacity).expand_as(black.rgb), atol=1e-5, rtol=0)
