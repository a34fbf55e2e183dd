"""A live view of finished scenes in a browser, by viser: each picture is the house's own render of where the browser
looks from, small while that moves, and then at its full size. The cameras of training and of evaluation stand in it.

viser's cameras look along z with y down; those of here along -z with y up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from engine.recipes.base import Orbit
from engine.views import decoder_of, eight_bits, reopened, seen, turned
from priors.base import Prior
from scene.base import Scene
from scene.cameras import CameraRange, Cameras
from scene.splatting import rotations

MOVING = 64  # pixels along an edge while the camera moves
STILL = 0.3  # seconds without a movement, after which a picture of full size is made
BACK = 1.3  # times as far as evaluation's cameras a browser starts, behind the first of them
TRAINING = 24  # cameras of training that are drawn: they are random, and these a sample
COLOURS = {"training": (200, 120, 40), "evaluation": (60, 110, 200)}


class Live:
    """The viewer of some jobs of a run, listening until it is stopped."""

    def __init__(self, jobs: Sequence[Path], device: str, size: int, port: int):
        import viser

        self.jobs = {"/".join(job.parts[-3:]): job for job in jobs}
        self.device, self.size = device, size
        self.busy = threading.Lock()  # one render at a time
        self.scene: Scene
        self.prior: Prior | None
        self.orbit: Orbit
        self.server = viser.ViserServer("127.0.0.1", port, label="scenes", verbose=False)
        self.server.scene.set_up_direction("+z")
        self.server.scene.world_axes.visible = False
        self.changed: dict[int, threading.Event] = {}  # by client
        self.shown = dict.fromkeys(COLOURS, False)
        self.drawn: dict[str, list[Any]] = {kind: [] for kind in COLOURS}
        self._controls()
        self.open(next(iter(self.jobs)))
        self.server.on_client_connect(self._joined)
        self.server.on_client_disconnect(lambda client: self.changed.pop(client.client_id, threading.Event()).set())

    @property
    def port(self) -> int:
        return self.server.get_port()

    def stop(self) -> None:
        self.server.stop()

    def _controls(self) -> None:
        gui = self.server.gui
        chosen = gui.add_dropdown("Scene", tuple(self.jobs), initial_value=next(iter(self.jobs)))
        chosen.on_update(lambda _: self.open(chosen.value))
        for kind in COLOURS:
            shown = gui.add_checkbox(f"Cameras of {kind}", initial_value=False)
            shown.on_update(self._toggled(kind, shown))

    def _toggled(self, kind: str, shown: Any) -> Callable[[object], None]:
        return lambda _: self._show(kind, shown.value)

    def _show(self, kind: str, visible: bool) -> None:
        self.shown[kind] = visible
        for frustum in self.drawn[kind]:
            frustum.visible = visible

    def open(self, name: str) -> None:
        """Show a job's scene, by <method>/<prompt>/<seed>. Raises UserError where it cannot be read."""
        job = self.jobs[name]
        with self.busy:
            self.scene, settings = reopened(job, self.device)
            self.prior, self.orbit = decoder_of(job, settings, self.device), turned(job)
        trained = trained_from(settings).sample(TRAINING, torch.Generator().manual_seed(0))
        self.drawn["training"] = self._draw("training", trained)
        self.drawn["evaluation"] = self._draw("evaluation", self.orbit.cameras())
        front = self.orbit.cameras()[:1]
        self.server.initial_camera.position = tuple((BACK * front.c2w[0, :3, 3]).tolist())
        self.server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self.server.initial_camera.fov = float(torch.deg2rad(front.fov[0]))
        for event in self.changed.values():
            event.set()

    def _draw(self, kind: str, cameras: Cameras) -> list[Any]:
        return [
            self.server.scene.add_camera_frustum(
                f"/{kind}/{k}", float(torch.deg2rad(cameras.fov[k])), 1.0, scale=0.08, thickness=0.004,
                wxyz=quaternion(cameras.c2w[k, :3, :3] * torch.tensor([1.0, -1.0, -1.0])),
                position=tuple(cameras.c2w[k, :3, 3].tolist()), color=COLOURS[kind], visible=self.shown[kind],
            )
            for k in range(len(cameras))
        ]  # fmt: skip

    def _joined(self, client: Any) -> None:
        event = self.changed[client.client_id] = threading.Event()
        client.camera.on_update(lambda _: event.set())
        event.set()
        threading.Thread(target=self._serve, args=(client, event), daemon=True).start()

    def _serve(self, client: Any, event: threading.Event) -> None:
        """Pictures for a browser until it leaves."""
        while client.client_id in self.changed:
            event.wait()
            event.clear()
            if client.client_id not in self.changed:
                return  # it was told that it left
            for size in (MOVING, self.size):
                camera = client.camera
                client.scene.set_background_image(
                    self.frame(camera.wxyz, camera.position, camera.fov, camera.aspect, size), format="jpeg"
                )
                if event.wait(STILL):
                    break  # it moves again

    @torch.no_grad()
    def frame(
        self,
        wxyz: Float[ndarray, 4],
        position: Float[ndarray, 3],
        fov: float,
        aspect: float,
        size: int,
    ) -> UInt8[ndarray, "H W 3"]:
        """What a camera of viser's sees, `fov` in radians from top to bottom; `size` pixels along the longer edge. A
        scene renders squares: of one as large as the longer edge sees, the middle."""
        wide = max(aspect, 1.0)
        c2w = torch.eye(4)
        c2w[:3, :3] = rotations(torch.as_tensor(wxyz, dtype=torch.float32)[None])[0] * torch.tensor([1.0, -1.0, -1.0])
        c2w[:3, 3] = torch.as_tensor(position, dtype=torch.float32)
        angle = 2 * np.degrees(np.arctan(np.tan(fov / 2) * wide))
        zero = torch.zeros(1)
        with self.busy:
            camera = Cameras(c2w[None], torch.tensor([float(angle)]), zero, zero, c2w[None, :3, 3].norm(dim=-1))
            rgb = seen(self.scene, camera.to(self.device), size, self.prior).rgb
        height, width = (max(round(size * share), 1) for share in (min(1 / aspect, 1.0), min(aspect, 1.0)))
        top, left = (size - height) // 2, (size - width) // 2
        return eight_bits(rgb[:, :3, top : top + height, left : left + width])[0].numpy()


def trained_from(settings: dict[str, Any]) -> CameraRange:
    """The cameras of a job's training, from its settings."""
    said: dict[str, Any] = settings["recipe"].get("cameras", {})
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in said.items()}
    return CameraRange(**values)


def quaternion(rotation: Float[Tensor, "3 3"]) -> tuple[float, float, float, float]:
    """(w, x, y, z) of a rotation."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation.double().numpy()).as_quat()
    return float(w), float(x), float(y), float(z)


@contextmanager
def opened(jobs: Sequence[Path], device: str, size: int, port: int) -> Iterator[Live]:
    live = Live(jobs, device, size, port)
    try:
        yield live
    finally:
        live.stop()
