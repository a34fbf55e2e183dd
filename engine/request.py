"""What is asked for, once and for all: the command line's words, checked, completed, and never changed again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.executors import Where
from files import ROOT
from prompts import Prompt
from suites.base import Suite

RUNS = ROOT / "results" / "runs"
SIZES = {"steps": 20, "resolution": 64, "views": 6}  # of renders, in training and around, in a rehearsal
VIEWS = 50


@dataclass(frozen=True)
class Policy:
    """What becomes of jobs that fail: each is tried `retries` times more; one that takes longer than `timeout` seconds
    at a time has failed; and all is over when `failures` of them have, or, below 1, that share."""

    retries: int = 0
    timeout: float | None = None
    failures: float | None = None

    def is_over(self, failed: int, jobs: int) -> bool:
        """Whether so many failures of so many jobs are too many."""
        if self.failures is None or not failed:
            return False
        return failed >= (self.failures if self.failures >= 1 else self.failures * jobs)


@dataclass(frozen=True)
class Request:
    """A run: `methods` and `tuned` (best.json files of sweeps) are its rows, each with all `prompts` and `seeds`.

    `steps`, `resolution` and `views` are those of the recipes where they are None. `budget` is a number of calls of the
    network for each job, in place of steps. `scene` is a kind of scene in place of the recipes' own. `prior`, `lora`,
    `phi`, `clip` and `clip2` are as the command line names them, None for the suite's own. `jobs` is a number of
    processes or "auto", `together` the scenes of each.
    `executor` is where jobs run, a name of engine.executors, and `address` where that is to be found.
    `external` names the specs of engines that are programs of their own, further rows."""

    suite: Suite
    track: str
    prompts: tuple[Prompt, ...]
    out: Path
    methods: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    steps: int | None = None
    budget: int | None = None
    resolution: int | None = None
    views: int | None = None
    scene: str | None = None
    prior: str | None = None
    lora: str | None = None
    phi: str | None = None
    clip: str | None = None
    clip2: str | None = None
    device: str = "auto"
    jobs: str = "auto"
    together: int = 1
    overwrite: bool = False
    external: tuple[str, ...] = ()
    policy: Policy = Policy()
    executor: str = "local"
    address: str | None = None

    @property
    def where(self) -> Where:
        """Where its jobs run, and are scored afterwards."""
        return Where(self.executor, self.address, self.device, self.jobs)


def folder_name(
    suite: Suite,
    track: str,
    steps: int | None = None,
    resolution: int | None = None,
    budget: int | None = None,
    tuned: bool = False,
    views: int | None = None,
    scene: str | None = None,
    prior: str | None = None,
    lora: str | None = None,
    phi: str | None = None,
    rehearse: bool = False,
) -> str:
    """A folder for each setting, so that the same command finds what it left."""
    usual: dict[str, int] = SIZES if rehearse else {"views": VIEWS}

    def said(**values: int | None) -> list[str]:
        return [f"{name}{value}" for name, value in values.items() if value not in (None, usual.get(name))]

    parts = [suite.name, track, *said(steps=steps, resolution=resolution)]
    parts += [f"nfe{budget}"] if budget else []
    parts += ["tuned"] if tuned else []
    parts += said(views=views)
    parts += [scene] if scene else []
    parts += [Path(prior).name.replace(":", "-")] if prior else []
    parts += [f"lora-{Path(lora).stem}"] if lora else []
    parts += [f"phi-{Path(phi).name}"] if phi else []
    parts += ["rehearse"] if rehearse else []
    return "-".join(parts)
