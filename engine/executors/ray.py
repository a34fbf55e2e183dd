"""Jobs on the nodes of a Ray cluster: a place is an actor, which Ray puts where a core or a GPU is free.

Results travel through the run's folder, which all nodes share, or through the store that its URL names, where each node
is a machine of its own (engine/remote). News are the answers to a question that every place is
asked again and again: what has happened since? An answer comes at once where a job has begun or ended, and else after
`pace` seconds, so that a thousand places do not drown the one process that asks. An error instead of an answer tells
that the place is gone: with its node, and then its jobs go on elsewhere from their checkpoints, or alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from engine import claims
from engine.executors.base import Away, Busy, Ended, Event, Fatal, Lost, Over, Room, Step, Work
from engine.executors.starting import variables
from engine.job import Setup
from engine.machine import GIGABYTES_A_JOB, asked_for, gigabytes, version_of
from engine.optimize import Watcher
from engine.plan import PACKAGES
from engine.remote.mirror import mirror_of, place_of
from engine.remote.sharing import Sharing, part_in, worked_on
from engine.together import Scene
from engine.worker import Task, do, fatal_of, serve
from errors import UserError, first_line
from files import ROOT, digest
from say import Console

LONGEST = 1.0  # seconds to wait for news
PATIENCE = 60.0  # seconds that places have to write their last checkpoints
LOOK = 5.0  # seconds between two looks for nodes that have joined
ANSWERS = 200  # a second, at most: each costs about a millisecond
APPEARS = 10.0  # seconds after which a file is seen from every node: NFS remembers for a while that it was not there
ENDS = 20.0  # seconds that the end of a process may take to be told
GONE = 15.0  # seconds without the head, after which it is taken for gone: Ray ends this process after a minute
LEAVE = 20.0  # seconds that places then have to write their last checkpoints
ROOMS = ("engine", "eval", "methods", "priors", "prompts", "reports", "scene", "suites", "world")  # that make results
STILLBORN = 3  # places that may end before they begin, one after another
MISSING = "--executor ray needs Ray, which is not installed: pip install ray, or uv sync --extra ray."
NOBODY = "No Ray cluster answers at {}: start one with `ray start --head`, or say --address HOST:PORT of its head{}."


class Answer(NamedTuple):
    """What happened at a place; whether its worker has ended; and which process it is."""

    events: list[Event]
    over: bool
    who: dict[str, Any]


class Post:
    """On a node: the worker, in a thread of its own, and what goes between it and the command."""

    def __init__(self, run: str, setup: Setup, same: dict[str, Any], task: Task | None):
        """`run`: a folder or a URL."""
        os.environ.update(variables(setup.threads))
        self.run, self.setup, self.task, self.cut = place_of(run), setup, task, False
        self._given: queue.Queue[list[Work]] = queue.Queue()
        self._claims: dict[Path, int] = {}
        self._told: list[Event] = []
        self._news, self._over = threading.Condition(), False
        threading.Thread(target=self._live, args=(same,), name="worker", daemon=True).start()

    def give(self, jobs: list[Work], numbers: dict[Path, int]) -> None:
        """With the numbers of claims on jobs in a store that were made for this node."""
        self._claims |= numbers
        self._given.put(jobs)

    def leave(self) -> None:
        """The jobs are to end, each with a checkpoint."""
        self.cut = True
        self._given.put([])

    def news(self, pace: float) -> Answer:
        """What has happened since the last answer."""
        with self._news:
            self._news.wait_for(lambda: self._over or any(not isinstance(e, Step) for e in self._told), pace)
            told, self._told = self._told, []
            return Answer(told, self._over, self._me() | {"node": _node()})

    def _me(self) -> dict[str, Any]:
        """As claims name this process."""
        mirror = mirror_of(self.run)
        return claims.me() | ({"machine": mirror.identity} if mirror else {})

    def send(self, event: Event) -> None:
        """A step takes the place of the job's last one, where nobody has asked since."""
        with self._news:
            if isinstance(event, Step):
                self._told = [e for e in self._told if not (isinstance(e, Step) and e.path == event.path)]
            self._told.append(event)
            self._news.notify()

    def receive(self) -> list[Work]:
        return self._given.get()

    def _live(self, same: dict[str, Any]) -> None:
        try:
            if not (fatal := self._unlike(same)):
                with worked_on(self.run, Console(quiet=True), follows=False) as part:
                    task = partial(self._carried, part) if isinstance(part, Sharing) else self.task
                    serve(self, self.run, self.setup, task)
        except Exception as error:
            fatal = fatal_of(error, self.run)
        with self._news:
            self._told += [fatal] if fatal else []
            self._over = True
            self._news.notify()

    def _carried(
        self, part: Sharing, work: Work, run: Path, setup: Setup, line: Watcher, scene: Scene
    ) -> dict[str, Any] | None:
        """A job of a store: from where its last machine left it, to where all find it."""
        path, task = work[0].path, self.task or do
        if path not in self._claims:
            return task(work, run, setup, line, scene)
        part.given(path, self._claims.pop(path))
        record = task(work, run, setup, line, scene)
        if record is not None:
            part.settle(path, lambda: self.cut)
        elif not self.cut:  # another command of this machine has it
            part.leave(path)
        return record

    def _unlike(self, same: dict[str, Any]) -> Fatal | None:
        """Why results from here would not be those of the command's machine, or would not get there."""
        if not Path(same["folder"]).is_dir():
            return Fatal(_unseen(same["folder"]))
        os.chdir(same["folder"])  # paths may be relative to it
        return (None if mirror_of(self.run) else self._blind(same)) or self._other(same)

    def _blind(self, same: dict[str, Any]) -> Fatal | None:
        folder = self.run / ".unfinished" / claims.ROSTER
        deadline = time.monotonic() + APPEARS
        while not any((folder / name).exists() for name in same["commands"]):
            if time.monotonic() > deadline:
                return Fatal(_unseen(self.run))
            time.sleep(0.2)
        return None

    def _other(self, same: dict[str, Any]) -> Fatal | None:
        here = software() | program()
        for name, wanted in same["software"].items():
            if here[name] != wanted:
                return Fatal(
                    f"The node {socket.gethostname()} has {name} {here[name]}, and this machine {wanted}, which may "
                    "change results: give all nodes the same."
                )
        return None


def _unseen(folder: object) -> str:
    return (
        f"The node {socket.gethostname()} does not see {folder}: the checkout, the folder where the command is given, "
        "and --out must lie in a folder that all nodes share; of a URL as --out, each node may have its own."
    )


def _node() -> str:
    import ray

    return ray.get_runtime_context().get_node_id()


def software() -> dict[str, Any]:
    """What a scene is made with, but for its job and this program."""
    return {"python": platform.python_version(), **{name: version_of(name) for name in PACKAGES}}


def program() -> dict[str, Any]:
    """This program, where nodes do not share its checkout."""
    code = digest((path for room in ROOMS for path in (ROOT / room).rglob("*.py")), ROOT)
    return {"code of this program": code[:12]}


@dataclass
class Place:
    """An actor, its answer to come, the jobs that sit there, and, once it has answered, which process it is."""

    actor: Any
    answer: Any
    jobs: set[Path] = field(default_factory=set)
    who: dict[str, Any] | None = None

    def forsake(self, run: Path) -> None:
        """Leave what sat there to others, now that its process is gone."""
        for path in self.jobs if self.who else ():
            claims.forsake(run / ".unfinished" / path, self.who or {})


class Cluster:
    """An executor. Jobs are done by `task`, as engine.worker does them where there is none."""

    def __init__(self, address: str = "auto", task: Task | None = None):
        self.ray, self.task = connected(address), task
        self.head = self.ray.get_runtime_context().gcs_address
        self.places: dict[int, Place] = {}
        self.told, self.stillborn, self.looked, self.headless = 0, 0, 0.0, False

    def device(self, name: str) -> str:
        return name if name != "auto" else "cuda" if self._total("GPU") else "cpu"

    def room(self, jobs: str, device: str, missing: int, folders: Iterable[str | None]) -> int:
        """As many as fit on the nodes that are there, more when others join; or as many as are asked for, which share
        GPUs where there are fewer."""
        asked = asked_for(jobs)
        self.needs = {"CPU": 1.0}
        if device == "cpu":
            self.needs["memory"] = (GIGABYTES_A_JOB + gigabytes(folders)) * 2**30
        else:
            self.needs["GPU"] = 1 / max(-(-(asked or 1) // max(int(self._total("GPU")), 1)), 1) if asked else 1.0
        self.most = min(asked or missing, missing) or 1
        return self.most if asked else max(min(self._fits(), self.most), 1)

    def start(self, run: Path, setup: Setup, places: int) -> None:
        self.run, self.told, self.part = run.resolve(), places, part_in(run)
        mirror = mirror_of(run)
        self.name = mirror.url if mirror else str(self.run)
        self.part.lead()
        self.setup = replace(setup, device="cuda:0" if setup.device == "cuda" else setup.device)
        folder = self.run / ".unfinished" / claims.ROSTER
        self.same = {
            "commands": [path.name for path in folder.glob("*.json")],
            "folder": str(Path.cwd()),
            "software": software() | (program() if mirror else {}),
        }
        self._wish(self.most)

    def submit(self, place: int, jobs: list[Work]) -> None:
        if place not in self.places:
            if not jobs:
                return
            self.places[place] = self._begun()
        it = self.places[place]
        it.jobs |= {job.path for job, _ in jobs}
        handed = {job.path: self.part.handed(job.path) for job, _ in jobs}
        it.actor.give.remote(jobs, {path: number for path, number in handed.items() if number is not None})
        if not it.jobs:
            self.ray.kill(self.places.pop(place).actor)

    def events(self) -> Iterator[Event]:
        by_answer = {it.answer: place for place, it in self.places.items()}
        if not by_answer:  # all nodes are gone
            time.sleep(LONGEST)
            yield from self._joined()
            return
        ready, rest = self.ray.wait(list(by_answer), timeout=LONGEST)
        if ready and rest:
            ready += self.ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for answer in ready:
            place = by_answer[answer]
            if place in self.places and self.places[place].answer is answer:  # it was not ended meanwhile
                yield from self._news(place)
        yield from self._joined()

    def end(self, place: int) -> None:
        it = self.places.pop(place)
        self.ray.kill(it.actor)
        with contextlib.suppress(self.ray.exceptions.RayError):  # the first is that it is gone
            while True:
                self.ray.get(it.answer, timeout=ENDS)
                self._ask(it)
        it.forsake(self.run)
        deadline = time.monotonic() + ENDS
        while any(claims.is_held(self.run / ".unfinished" / path) for path in it.jobs):
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)  # Ray tells that it is gone when it has been told to go

    def stop(self) -> bool:
        """All are told before any is waited for; Ctrl-C while they are waited for ends them at once."""
        places, self.places = list(self.places.values()), {}
        for it in places:
            it.actor.leave.remote()
        try:
            return self._left(places)
        finally:
            for it in places:
                self.ray.kill(it.actor)
                it.forsake(self.run)
            if self.headless:
                self.ray.shutdown()  # else Ray ends this process, which has tables to write
            else:
                self._wish(0)

    def _left(self, places: list[Place]) -> bool:
        """Whether all places ended by themselves. One that has not answered yet waits for a node, and has nothing to
        lose."""
        begun, whole, left = time.monotonic(), True, {it.answer: it for it in places}
        while left and time.monotonic() < begun + (LEAVE if self.headless else PATIENCE):
            for answer in self.ray.wait(list(left), timeout=LONGEST)[0]:
                it = left.pop(answer)
                try:
                    news = self.ray.get(answer)
                except self.ray.exceptions.RayError:
                    whole = False
                    continue
                it.who = news.who
                if not news.over:
                    left[self._ask(it)] = it
            if time.monotonic() > begun + 2 * LONGEST + self.pace:
                left = {answer: it for answer, it in left.items() if it.who}
        return whole and not left

    @property
    def pace(self) -> float:
        """Seconds between two answers of a place that has nothing but steps to tell."""
        return max(LONGEST, len(self.places) / ANSWERS)

    def _begun(self) -> Place:
        made = self.ray.remote(Post).options(
            num_cpus=self.needs["CPU"],
            num_gpus=self.needs.get("GPU", 0),
            memory=self.needs.get("memory"),
            max_concurrency=4,  # it is asked, given jobs and told to leave while it works
            max_restarts=0,
        )
        actor = made.remote(self.name, self.setup, self.same, self.task)
        return Place(actor, actor.news.remote(self.pace))

    def _ask(self, it: Place) -> Any:
        it.answer = it.actor.news.remote(self.pace)
        return it.answer

    def _news(self, place: int) -> Iterator[Event]:
        it = self.places[place]
        try:
            events, over, it.who = self.ray.get(it.answer)
        except self.ray.exceptions.RayError as error:
            yield from self._failed(place, it, error)
            return
        self.stillborn = 0
        if not over:
            self._ask(it)
        for event in events:
            if isinstance(event, (Ended, Busy)):
                it.jobs.discard(event.path)
            yield event
        if over and self.places.get(place) is it:
            del self.places[place]
            yield Lost(place, "its process had too little memory to begin: try fewer --jobs")

    def _failed(self, place: int, it: Place, error: Exception) -> list[Event]:
        """What no answer means: a connection that broke for a moment, or an end."""
        errors = self.ray.exceptions
        if isinstance(error, errors.ActorUnavailableError):
            time.sleep(0.1)
            self._ask(it)
            return []
        if self._is_headless():
            return [self._over()]
        del self.places[place]
        it.forsake(self.run)
        if it.who is None:
            self.stillborn += 1
            if self.stillborn > STILLBORN or getattr(error, "actor_init_failed", False):
                return [Fatal(f"No node could start a process for jobs: {_reason(error)}.")]
            return [self._away(place, "its process ended before it began")]
        host = it.who["host"]
        if getattr(error, "preempted", False) or not self._lives(it.who["node"]):
            return [self._away(place, f"the node {host} is gone")]
        return [Lost(place, f"its process on {host} is gone; it may have been out of memory: {_reason(error)}")]

    def _away(self, place: int, cause: str) -> Away:
        self.told -= 1
        return Away(place, cause)

    def _is_headless(self) -> bool:
        """Whether the head has not answered for a while. Looked at before it is asked for anything: Ray would wait, and
        then end this process without a word."""
        deadline = time.monotonic() + GONE
        while not self.headless and not _listens(self.head):
            self.headless = time.monotonic() > deadline
            time.sleep(0.5)
        return self.headless

    def _over(self) -> Over:
        return Over(f"The cluster's head at {self.head} is gone")

    def _lives(self, node: str) -> bool:
        return any(it["NodeID"] == node and it["Alive"] for it in self.ray.nodes())

    def _joined(self) -> Iterator[Room | Over]:
        if time.monotonic() < self.looked + LOOK:
            return
        if self._is_headless():
            yield self._over()
            return
        self.looked = time.monotonic()
        if (fits := min(self._fits(), self.most)) > self.told:
            self.told = fits
            yield Room(fits)

    def _fits(self) -> int:
        """How many places the nodes that are there have room for."""
        nodes = [it["Resources"] for it in self.ray.nodes() if it["Alive"]]
        return sum(int(min(has.get(name, 0) / n + 1e-6 for name, n in self.needs.items())) for has in nodes)

    def _total(self, resource: str) -> float:
        return self.ray.cluster_resources().get(resource, 0)

    def _wish(self, places: int) -> None:
        """What an autoscaler, where there is one, is to make room for."""
        from ray.autoscaler import sdk

        needs = {name: int(n) if name == "memory" else n for name, n in self.needs.items()}
        with contextlib.suppress(self.ray.exceptions.RayError, RuntimeError):
            sdk.request_resources(bundles=[needs] * places)


def connected(address: str) -> Any:
    """Ray, connected to the cluster at HOST:PORT, or, for `auto`, to the one that this machine is in; signals mean what
    they meant. Raises UserError where there is none, and where Ray is not installed."""
    ray = imported()
    wanted = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    if wanted != "auto":
        _refuse_deaf(wanted)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        ray.init(wanted, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds, by what is missing
        raise UserError(NOBODY.format(wanted, f" ({first_line(error)})")) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return ray


def imported() -> Any:
    """Raises UserError where Ray is not installed."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else `uv run` sends the whole checkout to every node
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "5")  # seconds to wait for a head
    try:
        import ray
    except ImportError:
        raise UserError(MISSING) from None
    return ray


def _refuse_deaf(address: str) -> None:
    """Raises UserError where nobody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UserError(f"--address takes HOST:PORT of the cluster's head, or auto, not {address!r}.")
    try:
        _knock(address)
    except (OSError, OverflowError) as error:
        raise UserError(NOBODY.format(address, f" ({first_line(error)})")) from error


def _listens(address: str) -> bool:
    """Whether somebody does at HOST:PORT."""
    try:
        _knock(address)
    except OSError:
        return False
    return True


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()


def _reason(error: Exception) -> str:
    """The last line of what Ray says, which is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200].rstrip(".") if lines else type(error).__name__
