"""Several scenes side by side in one process, and on a GPU one call of the network for all of them.

Each scene is a thread of its own, and exactly one runs at a time: until it asks for the network, or ends. Where all
that live are waiting, their rows travel in one call, and each goes on with its own. So rules and the loop stay as
they are, rules with other numbers of calls mix, and the order of everything is the same at every run.

A row of a larger batch is rounded differently (1e-6 of it). On a CPU, where a batch gains nothing, each scene has a
call of its own, and is to the bit the scene it would be alone; on a GPU it is so only up to rounding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from priors.base import Prior

Request = tuple[Tensor, Tensor, Tensor]  # x_t, t, text


class Scene:
    """One thread's turn-taking, the call it waits for, and the time it has used: its own and its share of calls."""

    def __init__(self, name: Any, task: Callable[[Scene], Any], threads: int):
        self.name, self._task, self._threads = name, task, threads
        self.request: tuple[Prior, Request] | None = None
        self.answer: Tensor | BaseException | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.ended, self.alone = False, False
        self.spent, self._since = 0.0, 0.0
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._live, name=f"scene {name}", daemon=True)

    def resume(self) -> None:
        """Let the scene run until it waits for the network or has ended."""
        self._since = time.monotonic()
        try:
            if self._thread.ident is None:
                self._thread.start()
            else:
                self._go.release()
            self._back.acquire()
        except RuntimeError as error:  # can't start new thread
            self.error, self.ended = error, True
        self.spent += time.monotonic() - self._since

    def clock(self) -> float:
        """Seconds used so far, for the scene's own thread to read."""
        return self.spent + time.monotonic() - self._since

    def ask(self, prior: Prior, request: Request) -> Tensor:
        """The network's answer, for the scene's thread to wait for; not shared where it is to be differentiated."""
        if self.alone or (torch.is_grad_enabled() and any(v.requires_grad for v in request)):
            return prior.network(*request)
        self.request = (prior, request)
        self._wait()
        answer, self.answer = self.answer, None
        if isinstance(answer, BaseException):
            raise answer
        assert answer is not None
        return answer

    def _wait(self) -> None:
        self._back.release()
        self._go.acquire()

    def _live(self) -> None:
        try:
            torch.set_num_threads(self._threads)
            self.result = self._task(self)
        except BaseException as error:
            self.error = error
        self.ended = True
        self._back.release()


class Seat(Prior):
    """The shared prior as one scene sees it: its calls are the scene's, and counted for it alone."""

    def __init__(self, prior: Prior, scene: Scene):
        self._prior, self._scene = prior, scene
        self.schedule, self.latent_shape, self.image_size = prior.schedule, prior.latent_shape, prior.image_size
        self.view_words, self.text_share = prior.view_words, prior.text_share

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)  # what a student needs of its network

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: torch.Generator) -> Float[Tensor, "B C h w"]:
        return self._prior.encode(image, rng)

    def decode(self, latent: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        return self._prior.decode(latent)

    def embed(self, prompts: list[str]) -> Float[Tensor, "B L D"]:
        return self._prior.embed(prompts)

    def network(
        self, x_t: Float[Tensor, "B C h w"], t: Int[Tensor, " B"], text: Float[Tensor, "B L D"]
    ) -> Float[Tensor, "B C h w"]:
        return self._scene.ask(self._prior, (x_t, t, text))


class Together:
    """The scenes that live. `add` them, and call `round` until none does."""

    def __init__(self, threads: int | None = None):
        self.live: list[Scene] = []
        self._threads = threads or torch.get_num_threads()

    def add(self, name: Any, task: Callable[[Scene], Any]) -> None:
        """A scene that runs `task`, which reaches a prior through `Seat(prior, scene)`."""
        self.live.append(Scene(name, task, self._threads))

    def round(self) -> list[Scene]:
        """Let each scene run to its next call, and make the calls; returns the scenes that ended."""
        for scene in self.live:
            scene.alone = len(self.live) == 1
            scene.resume()
        ended = [scene for scene in self.live if scene.ended]
        self.live = [scene for scene in self.live if not scene.ended]
        waiting = [scene for scene in self.live if scene.request is not None]
        for prior in {id(s.request[0]): s.request[0] for s in waiting if s.request}.values():
            asking = [s for s in waiting if s.request and s.request[0] is prior]
            for scenes in [asking] if shared(asking) else [[scene] for scene in asking]:
                _serve(prior, scenes)
        return ended


def shared(asking: list[Scene]) -> bool:
    """Whether the scenes' rows travel in one call: on a CPU a larger batch is no faster,
    and would give other roundings, that is, another scene under the same key."""
    return all(scene.request is not None and scene.request[1][0].device.type != "cpu" for scene in asking)


@torch.no_grad()
def _serve(prior: Prior, scenes: list[Scene]) -> None:
    """One call for the scenes' rows; where it fails, one for each, so that a failure is that of its own scene."""
    requests = [scene.request[1] for scene in scenes if scene.request]
    sizes, start = [len(x_t) for x_t, _, _ in requests], time.monotonic()
    try:
        device = requests[0][0].device
        x_t, t, text = (torch.cat([request[k].to(device) for request in requests]) for k in range(3))
        for scene, rows in zip(scenes, prior.network(x_t, t, text).split(sizes), strict=True):
            scene.request, scene.answer = None, rows
    except Exception as error:
        if len(scenes) > 1:
            for scene in scenes:
                _serve(prior, [scene])
            return
        scenes[0].request, scenes[0].answer = None, error
    for scene, size in zip(scenes, sizes, strict=True):
        scene.spent += (time.monotonic() - start) * size / sum(sizes)
