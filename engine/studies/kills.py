"""SIGKILL at random times: is what a run leaves to the bit what it leaves when nobody disturbs it?

    python -m engine.studies.kills --kills 100 --out DIR

`run_benchmark.py` does jobs of a second, with a checkpoint at every step, and is killed again and again: a worker, the
process that workers are forked from, the command itself, or all of them at once. What was killed is begun again, as a
user would. A run that comes to its end is held against the undisturbed one, and another begins, until there were so
many kills. With `--commands 3`, three at a time share each run. The first run compiles its kernels, from nothing.

Exit code 1 where anything differs, was done twice, or is left over.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import forkserver, util
from pathlib import Path
from typing import Any

import psutil
from numba.core.dispatcher import Dispatcher
from rich.progress import Progress

import engine.plan
from engine.executors.starting import LIBRARIES, environment, started
from engine.studies.alike import Problems, left_over, unlike
from errors import UserError
from files import ROOT
from records import RECORD
from reports.markdown import pipes
from say import Console, say
from scene.kernels.compiled import config

JOBS = ("--methods", "sds", "sdi", "--prompts", "31", "43", "--steps", "4", "--resolution", "8", "--views", "2",
        "--device", "cpu", "--jobs", "2", "--retry-on-error", "1000")  # fmt: skip
OURS = ["commands.run", "commands.shared.results", "engine.worker"]  # imported once for all commands
KINDS = {"worker": 4, "server": 1, "command": 3, "all at once": 2}  # how often each is chosen, where it is there
PHASES = ("starting", "jobs", "scoring", "tables")
COLD = 5  # kills of a run that compiles its kernels at most: each compiles on from what was kept
SHARE = 0.17  # of the undisturbed run's processor time: what is used between two kills, on average
LOOK = 0.05  # seconds between two looks
STOPPED = 130  # the exit code
PATIENCE = 120.0  # seconds for what was orphaned to end


def command(arguments: list[str], log: Path, kernels: Path, temporary: Path) -> None:
    """A command, in the process that this one is, with a group of its own; its output is added to `log`."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    _compile_into(kernels)
    util.spawnv_passfds = partial(_forked, util.spawnv_passfds)  # type: ignore[attr-defined]
    forkserver.ensure_running()
    engine.plan.Setup = partial(engine.plan.Setup, checkpoint_seconds=0.0)  # type: ignore[misc, assignment]
    sys.argv = ["run_benchmark.py", *arguments]
    runpy.run_path(str(ROOT / "run_benchmark.py"), run_name="__main__")


def _compile_into(kernels: Path) -> None:
    """Keep compiled kernels in another folder, and know none that are not there."""
    config.CACHE_DIR = str(kernels)
    for module in [module for name, module in sys.modules.items() if name.startswith("scene.")]:
        for value in vars(module).values():
            if isinstance(value, Dispatcher):
                value.enable_caching()


def _forked(spawn: Any, path: str, arguments: list[Any], descriptors: Sequence[int]) -> int:
    """The server of forks, from a fork of this process in place of a new one, which would import for ten seconds."""
    if "forkserver" not in arguments[-1]:
        return spawn(path, arguments, descriptors)
    if pid := os.fork():
        return pid
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) not in descriptors:
                with contextlib.suppress(OSError):  # of the listing itself
                    os.close(int(name))
        exec(arguments[-1], {})
    finally:
        os._exit(0)


@dataclass
class Place:
    """Where runs are made: what commands write beside them, and their kernels."""

    out: Path
    kernels: Path
    begun: list[int] = field(default_factory=list)  # the groups of all commands

    def begin(self, run: Path) -> Any:
        temporary = run.with_suffix(".temporary")
        temporary.mkdir(parents=True, exist_ok=True)
        log = run.with_suffix(".log")
        process = started(command, ([*JOBS, "--out", str(run)], log, self.kernels, temporary), 1)
        self.begun.append(process.pid or 0)
        return process


def victims(pid: int) -> dict[str, list[int]]:
    """By kind, the processes of a command that could be killed now."""
    servers = [server for server, line in _children(pid) if "forkserver" in line]
    workers = [worker for server in servers for worker, _ in _children(server)]
    there = {"worker": workers, "server": servers, "command": [pid], "all at once": [pid]}
    return there if psutil.pid_exists(pid) else {}


def _children(pid: int) -> list[tuple[int, str]]:
    """Of a process, those that live, with their command lines."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found.append((child.pid, " ".join(child.cmdline())))
    return found


def kill(pid: int, rng: random.Random) -> str | None:
    """Kill something of a command, with SIGKILL; returns its kind, None where it was gone."""
    there = {kind: pids for kind, pids in victims(pid).items() if pids}
    if not there:
        return None
    kind = rng.choices([*there], [KINDS[k] for k in there])[0]
    try:
        (os.killpg if kind == "all at once" else os.kill)(rng.choice(there[kind]), signal.SIGKILL)
    except ProcessLookupError:
        return None
    return kind


@dataclass
class Watched:
    """A run while it is disturbed: which jobs are in their place, and since which scene."""

    run: Path
    jobs: list[Path]
    scenes: dict[Path, tuple[int, int]] = field(default_factory=dict)
    twice: set[Path] = field(default_factory=set)

    def look(self) -> None:
        for job in self.jobs:
            try:
                found = (self.run / job / "scene.safetensors").stat()
            except OSError:
                if job in self.scenes:
                    self.twice.add(job)  # a result that was in its place was taken away
                continue
            if self.scenes.setdefault(job, (found.st_ino, found.st_mtime_ns)) != (found.st_ino, found.st_mtime_ns):
                self.twice.add(job)

    def phase(self, pid: int) -> str:
        """Of a command."""
        self.look()
        if len(self.scenes) < len(self.jobs):
            return "jobs" if victims(pid).get("worker") else "starting"
        return "tables" if all((self.run / job / "scores.json").exists() for job in self.jobs) else "scoring"


@dataclass
class Times:
    """When to kill: after so much processor time of all commands, drawn from an exponential distribution, so that the
    load of the machine decides nothing."""

    rng: random.Random
    mean: float  # seconds
    used: dict[int, float] = field(default_factory=dict)  # by process
    due: float = 0.0

    def next(self) -> None:
        self.due = sum(self.used.values()) + self.rng.expovariate(1 / self.mean)

    def has_come(self, commands: list[Any]) -> bool:
        for process in commands:
            for pid in (process.pid, *(pid for pids in victims(process.pid).values() for pid in pids)):
                self.used[pid] = max(self.used.get(pid, 0.0), used(pid))
        return sum(self.used.values()) >= self.due


def used(pid: int) -> float:
    """Seconds of processor time of a process; 0 where it is gone."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


def disturbed(place: Place, watched: Watched, commands: int, most: int, times: Times,
              heard: Any) -> tuple[Counter[tuple[str, str]], Problems]:  # fmt: skip
    """Do a run, with `most` kills at most; returns them by kind and phase, and which commands failed."""
    kills: Counter[tuple[str, str]] = Counter()
    problems: Problems = []
    living: list[Any] = [place.begin(watched.run) for _ in range(commands)]
    times.next()
    try:
        while living:
            time.sleep(LOOK)
            watched.look()
            for process in [p for p in living if not p.is_alive()]:
                living.remove(process)
                problems += failed(process, watched.run)
            if not living or sum(kills.values()) >= most or not times.has_come(living):
                continue
            times.next()
            process = times.rng.choice(living)
            phase = watched.phase(process.pid)
            if (kind := kill(process.pid, times.rng)) is None:
                continue
            kills[kind, phase] += 1
            heard()
            if kind in ("command", "all at once"):
                living.remove(process)
                process.join()
                living.append(place.begin(watched.run))
    finally:
        for process in living:  # where this is stopped
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return kills, problems


def failed(process: Any, run: Path) -> Problems:
    """What a command says last that nobody killed, and that failed all the same."""
    if process.exitcode == 0:
        return []
    said = run.with_suffix(".log").read_text("utf-8", errors="replace").strip().splitlines()
    return [f"{run.name}: a command ended with code {process.exitcode}: {said[-1]:.200}"]


def left_running(groups: list[int]) -> list[int]:
    """Processes of commands that are over, once they had time to end."""
    until = time.monotonic() + PATIENCE
    while True:
        found = [p for p in psutil.pids() if _group(p) in groups]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid) if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else 0
    except (ProcessLookupError, psutil.NoSuchProcess):
        return 0


TEXT = """Made by `uv run python -m engine.studies.kills --kills {wanted} --commands {commands} --seed {seed}`: runs of
{jobs} jobs with a checkpoint at every step, {commands_said}, killed by SIGKILL at random times
and given again, until there were {kills} kills in {runs} runs.{cold}

{table}

A worker does jobs; the server is what workers are forked from; the command is what the user gave; all at once is its
process group. Then every file of every run was held against a run that nobody disturbed.

{verdict}
"""
VERDICT = {  # by the end of a problem's line
    "differs": "files that differ (scenes, views, logs, scores, tables)",
    "is missing": "files missing, those of lost jobs among them",
    "was done twice": "jobs done twice",
    "is left over": "files and folders left over",
    "is left running": "processes left over",
    "": "commands that failed",
}


def verdict(problems: Problems) -> list[tuple[str, int]]:
    counts = Counter(next(end for end in VERDICT if problem.endswith(end)) for problem in problems)
    return [(name, counts[end]) for end, name in VERDICT.items()]


def page(found: Study) -> str:
    """As Markdown."""
    kills, options = found.kills, found.options
    body = [[kind, *(str(kills[kind, phase]) for phase in PHASES), str(sum(kills[kind, phase] for phase in PHASES))]
            for kind in KINDS]  # fmt: skip
    body.append(["all", *(str(sum(kills[kind, phase] for kind in KINDS)) for phase in PHASES), str(kills.total())])
    shared = f"{options.commands} commands at a time on one folder" if options.commands > 1 else "one command at a time"
    table = pipes(["Killed", *PHASES, "all"], body)
    counts = pipes(["Found", "how many"], [[name, str(n)] for name, n in verdict(found.problems)])
    return TEXT.format(
        wanted=options.kills,
        commands=options.commands,
        seed=options.seed,
        jobs=len(found.jobs),
        runs=found.runs,
        cold="" if options.warm else " The first run began with no compiled kernels.",
        kills=kills.total(),
        commands_said=shared,
        table="\n".join(table),
        verdict="\n".join(counts),
    )


@dataclass
class Study:
    """What was found so far: how often what was killed, in how many runs that came to their end, and what was wrong."""

    options: argparse.Namespace
    console: Console
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: int = 0
    jobs: list[Path] = field(default_factory=list)
    problems: Problems = field(default_factory=list)

    def go(self) -> None:
        """Kill so often as is asked for."""
        out, rng = self.options.out.resolve(), random.Random(self.options.seed)
        if out.exists() and any(out.iterdir()):
            raise UserError(f"The folder {out} is not empty: give another --out.")
        whole, warm = out / "whole", Path(config.CACHE_DIR)
        preload()
        place = Place(out, warm)
        times = Times(rng, SHARE * self.undisturbed(place, whole))
        with Progress(console=self.console) as progress:
            bar = progress.add_task("kills", total=self.options.kills)
            while (left := self.options.kills - self.kills.total()) > 0:
                run, cold = out / f"run-{self.runs:03d}", self.runs == 0 and not self.options.warm
                place.kernels = out / "kernels" if cold else warm
                watched = Watched(run, self.jobs)
                most = min(left, COLD) if cold else left
                new, ends = disturbed(place, watched, self.options.commands, most, times, lambda: progress.advance(bar))
                running = [f"{run.name}: process {pid} is left running" for pid in left_running(place.begun)]
                twice = [f"{run.name}: {job} was done twice" for job in sorted(watched.twice)]
                self.take(new, run, [*ends, *running, *twice, *unlike(run, whole)])

    def undisturbed(self, place: Place, whole: Path) -> float:
        """Do a run that nobody disturbs; returns the processor time it takes."""
        say(self.console, "A run that nobody disturbs, first.")
        process, times = place.begin(whole), Times(random.Random(0), 1.0)
        while process.is_alive():
            times.has_come([process])
            time.sleep(LOOK)
        if process.exitcode != 0:
            raise UserError(f"The undisturbed run ended with code {process.exitcode}: see {whole.with_suffix('.log')}.")
        self.jobs = sorted(p.parent.relative_to(whole) for p in whole.glob(f"*/*/*/{RECORD}"))
        self.problems = [f"whole: {path} is left over" for path in left_over(whole)]
        return sum(times.used.values())

    def take(self, new: Counter[tuple[str, str]], run: Path, found: Problems) -> None:
        """A run that came to its end; one without faults is not kept."""
        for line in found:
            say(self.console, line, "red")
        if not found:
            for made in (run, run.with_suffix(".temporary")):
                shutil.rmtree(made)
        self.kills, self.problems, self.runs = self.kills + new, self.problems + found, self.runs + 1


def preload() -> None:
    """Let the commands be forked from a process that has imported what they import."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), before)))
    try:
        with environment(1):
            forkserver.set_forkserver_preload([*LIBRARIES, *OURS])
            forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m engine.studies.kills", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="default: 100")
    parser.add_argument("--commands", type=int, default=1, metavar="N", help="at a time on one folder; default: 1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the times and the victims; default: 0")
    parser.add_argument("--out", type=Path, default=Path("results/runs/kills"), metavar="DIR",
                        help="an empty folder; runs that went wrong stay in it")  # fmt: skip
    parser.add_argument("--warm", action="store_true", help="no run compiles its kernels: quicker")
    found = Study(parser.parse_args(arguments), Console())
    try:
        found.go()
    except UserError as error:
        print(f"kills: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if not found.runs:
            say(found.console, "Stopped before a run came to its end: nothing is known.")
            return STOPPED
        say(found.console, "Stopped: this is what the runs say that came to their end.")
    say(found.console, page(found))
    return int(bool(found.problems)) or (STOPPED if found.kills.total() < found.options.kills else 0)


if __name__ == "__main__":
    sys.exit(main())
