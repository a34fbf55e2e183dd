"""An executor in one file: jobs are done by whoever asks for news, in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from engine.executors.base import Ended, Event, Work
from engine.job import Setup
from engine.machine import device_of
from engine.together import Together
from engine.worker import do


class Here:
    cut = False

    def device(self, name: str) -> str:
        return device_of(name)

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        return 1

    def start(self, run: Path, setup: Setup, places: int) -> None:
        self.run, self.setup = run, setup
        self.works: list[Work] = []
        self.told: list[Event] = []

    def submit(self, place: int, jobs: list[Work]) -> None:
        self.works += jobs

    def events(self) -> Iterator[Event]:
        work, scenes = self.works.pop(0), Together()
        scenes.add(work[0].path, partial(do, work, self.run, self.setup, self))
        while scenes.live:
            for scene in scenes.round():
                if scene.error is not None:
                    raise scene.error
                yield from self.told
                self.told.clear()
                if scene.result is not None:
                    yield Ended(scene.name, scene.result)

    def send(self, event: Event) -> None:
        self.told.append(event)

    def stop(self) -> bool:
        return True
