"""Several machines on one run in an object store: each job is done once, and goes on where another machine left it.

    URL/.claims/<recipe>/<NN-slug>/<seed>/000001.json   who has the job, as in engine/claims.py; the highest counts
    URL/.unfinished/<recipe>/<NN-slug>/<seed>/          config.json log.jsonl checkpoint.safetensors, the last first

A machine has a job when it has made the next claim, which the store lets one alone do: `create` of an object that is
not there. It writes it anew every BEAT seconds, and at last that it is over. Claims of others are written into the
folder of this machine as those of a shared folder are, so that whatever asks there who has a job is answered; an owner
who finds the next claim made by another stops at its next checkpoint, as there.

What cannot be put there, because nobody answers, is kept and put later.

Where the nodes of a cluster do the jobs of a command, that command `leads`: it claims a job and hands the claim to a
node, which is a machine as any other, but brings nothing that is not asked of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine import claims
from engine.remote.mirror import ALL, RUN, SCORES, Mirror, is_job, mirror_of
from engine.remote.objects import Unreachable
from errors import UserError, first_line
from files import write_json
from records import RECORD, outcome, read_record
from say import Console, say

CLAIMS, WORK = ".claims", ".unfinished"
KEPT = ("config.json", "log.jsonl", "checkpoint.safetensors")  # of a job under way, in the order that they are put
PATIENCE = 20.0  # seconds that a store which does not answer is waited for at the end
LOOK = 1.0
AWAY = "{}. The run goes on here, and is put there when it answers again."
BACK = "{} answers again."
LEFT = "Not all of the run is in {} yet: the same command puts there what is in {}."
SHARED = (
    "{} does not refuse to make an object that is there already, by which machines share a run: take another store."
)


class Part:
    """A command's part in a run, which adds results to it. In one that is a folder of this machine nothing is to be
    brought or put anywhere."""

    whole = True  # all that is here is there, too

    def take(self, path: Path) -> bool:
        """Whether a job, that nobody here seems to have, is ours."""
        return True

    def put(self, path: Path) -> None:
        """A job has ended here."""

    def leave(self, path: Path) -> None:
        """A job is not done here after all."""

    def lead(self) -> None:
        """Nodes do the jobs: what is taken here is theirs."""

    def handed(self, path: Path) -> int | None:
        """The number of the claim that a node is given with a job; None where it needs none."""
        return None

    def kept_step(self, path: Path) -> int:
        """The step of a job's last checkpoint, as far as it is not here."""
        return 0

    def bring(self, level: int = ALL) -> None:
        """Bring what the run has elsewhere, before it is rendered again or scored: all, or, where others do that, its
        numbers."""

    @contextlib.contextmanager
    def at(self, path: Path, level: int = ALL) -> Iterator[None]:
        """A finished job is worked at: what is needed of it is brought first, and what is new put there at the end."""
        yield


class Sharing(Part):
    """This command's part in the run that a folder mirrors. What the user should know is said on the console."""

    def __init__(self, mirror: Mirror, console: Console, follows: bool = True):
        """`follows`: whether it brings the numbers of all jobs, and sees who has which; else only of its own."""
        self.mirror, self.run, self.console, self.follows = mirror, mirror.run, console, follows
        self.leads = False
        self._holds: dict[str, int] = {}  # the number of our claim; 0 where there was no answer yet
        self._tops: dict[str, int] = {}  # the highest claim of each job, when last seen
        self._stamps: dict[str, str] = {}
        self._ended: set[str] = set()
        self._saved: dict[str, tuple[int, int]] = {}  # checkpoints that were put
        self._kept: dict[str, int] = {}  # their steps
        self._lock, self._end, self._news = threading.RLock(), threading.Event(), threading.Event()
        self._away = self._still = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._beating, self._carrying)]

    # -- what the queue asks

    def take(self, path: Path) -> bool:
        """Brings where another machine left it, or how it ended there: then nothing is left to do."""
        job = path.as_posix()
        try:
            with self._lock:
                if job in self._holds:
                    return True
                if not self._claimed(job):
                    return False
            self._tell(self.mirror.refresh(job))
            if not self.leads:
                self._bring_work(job)
        except Unreachable as error:
            self._holds.setdefault(job, 0)
            self._answers(error)
        return True

    def lead(self) -> None:
        self.leads = True

    def handed(self, path: Path) -> int | None:
        with self._lock:
            return self._holds.pop(path.as_posix(), None) if self.leads else None

    def given(self, path: Path, number: int) -> None:
        """On a node: a job with the claim that was made for us; 0 where nobody could be asked, and it is made later."""
        job = path.as_posix()
        with self._lock:
            self._holds[job], self._tops[job] = number, max(number, self._tops.get(job, 0))
        with self._trying():
            if number:
                self.mirror.objects.write(_claim(job, number), self._said(job))
            self._tell(self.mirror.refresh(job))
            self._bring_work(job)

    def settle(self, path: Path, cut: Callable[[], bool]) -> None:
        """Wait until a job that has ended is put there, be it for a store that does not answer; or until it is cut."""
        self.put(path)
        while path.as_posix() in self._ended and not cut():
            time.sleep(0.02)

    def kept_step(self, path: Path) -> int:
        name = _claim(path.as_posix(), self._tops.get(path.as_posix(), 0))
        with self._trying():
            return _parsed(self.mirror.objects.read([name]).get(name, b"")).get("kept", 0)
        return 0

    @contextlib.contextmanager
    def at(self, path: Path, level: int = ALL) -> Iterator[None]:
        job = path.as_posix()
        if damaged := self.mirror.refresh(job, level):
            raise UserError(f"{damaged[job]}.")
        yield
        while self.mirror.is_changed(job) and not self._updated(job):
            time.sleep(LOOK)

    def put(self, path: Path) -> None:
        with self._lock:
            self._ended.add(path.as_posix())
        self._news.set()

    def leave(self, path: Path) -> None:
        with self._lock, self._trying():
            self._release(path.as_posix())

    # -- claims

    def _claimed(self, job: str) -> bool:
        number = self._tops.get(job, 0) + 1
        made = self.mirror.objects.create(_claim(job, number), self._said(job))
        found = _numbers(self.mirror.objects.find(f"{CLAIMS}/{job}")).get(job, [number])
        self._tops[job] = max(found)
        if not made or max(found) > number:
            self.mirror.objects.remove([_claim(job, number)] if made else [])
            self._look([job])
            return False
        self._holds[job] = number
        self.mirror.objects.remove(_claim(job, n) for n in found if n < number)
        self._write_theirs(job, {})
        return True

    def _release(self, job: str) -> None:
        number = self._holds.pop(job, 0)
        if number and self._tops.get(job) == number and not self.mirror.is_done_here(job):
            self.mirror.objects.write(_claim(job, number), self._said(job, over=True))

    def _said(self, job: str, over: bool = False) -> bytes:
        step = (claims.owner(self.run / WORK / job) or {}).get("step", 0)
        said = claims.me() | {"machine": self.mirror.identity, "token": self.mirror.identity, "step": step}
        return json.dumps(said | {"at": time.time(), "over": over, "kept": self._kept.get(job, 0)}).encode()

    def look(self) -> None:
        """See who has which job. Raises Unreachable."""
        with self._lock:
            places = [CLAIMS] if self.follows else [f"{CLAIMS}/{job}" for job in self._holds]
            found = {name: entry for place in places for name, entry in self.mirror.objects.find(place).items()}
            tops = {job: max(numbers) for job, numbers in _numbers(found).items()}
            new = [job for job, n in tops.items() if self._stamps.get(job) != f"{n} {found[_claim(job, n)].stamp}"]
            self._tops |= tops
            self._stamps |= {job: f"{tops[job]} {found[_claim(job, tops[job])].stamp}" for job in new}
            self._look([job for job in new if self._holds.get(job) != tops[job]])

    def look_for_left(self) -> None:
        """See which jobs were begun and left. Raises Unreachable."""
        for name in self.mirror.objects.find(WORK):
            job, _, last = name[len(WORK) + 1 :].rpartition("/")
            if last == KEPT[0] and is_job(job) and not self._record(job):
                (self.run / WORK / job).mkdir(parents=True, exist_ok=True)

    def _look(self, jobs: list[str]) -> None:
        read = self.mirror.objects.read(_claim(job, self._tops[job]) for job in jobs)
        for job in jobs:
            said = _parsed(read.get(_claim(job, self._tops[job]), b""))
            if said.get("machine") == self.mirror.identity:  # of a command of this machine: the folder says who
                if job in self._holds:
                    self._holds[job] = self._tops[job]
                continue
            if said and not said.get("over"):
                self._holds.pop(job, None)
                self._write_theirs(job, said)
            else:
                self._write_theirs(job, {})
                if job in self._holds:
                    self._holds[job] = 0  # another had it meanwhile, and left it: it is to be claimed again

    def _write_theirs(self, job: str, said: dict[str, Any]) -> None:
        """Into the folder, what a claim of another machine says; where it is over or ours, nothing of theirs. A worker
        of this command who has the job finds the other's name in the claim, and stops."""
        work = self.run / WORK / job
        before = claims.owner(work) or {}
        if said:
            work.mkdir(parents=True, exist_ok=True)
            (work / claims.LOCK).touch()
            if not (work / KEPT[0]).exists():
                self.mirror.objects.fetch({f"{WORK}/{job}/{KEPT[0]}": work / KEPT[0]})
            aside = write_json(work / f"{claims.CLAIM}.theirs", said)  # the worker may just be writing its own
            aside.replace(work / claims.CLAIM)
        elif before and before.get("machine") != claims.machine():
            (work / claims.CLAIM).unlink(missing_ok=True)

    # -- what goes there, and comes from there

    def _beating(self) -> None:
        while not self._end.wait(claims.BEAT):
            with self._lock, self._trying():
                self.look()
                for job, number in list(self._holds.items()):
                    if number:
                        self.mirror.objects.write(_claim(job, number), self._said(job))
                    elif not self._claimed(job):  # somebody else has it by now
                        self._holds.pop(job, None)

    def _carrying(self) -> None:
        while not self._end.is_set():
            self._news.wait(claims.BEAT)
            self._news.clear()
            with self._trying():
                self._carry()
                if self.follows and not self._still:
                    self._tell(self.mirror.pull(SCORES))

    def _carry(self) -> None:
        with self._lock:
            ended, held = sorted(self._ended), sorted(self._holds)
        for job in ended:
            self._put(job)
        for job in held if not self.leads else ():
            if job not in ended:
                self._put_work(job)

    def _put(self, job: str) -> None:
        self.mirror.push(job)
        record = self._record(job)
        if record and outcome(record)[0] != "failed":
            self.mirror.objects.remove(f"{WORK}/{job}/{name}" for name in reversed(KEPT))
        else:
            self._put_work(job)
        with self._lock:
            self._ended.discard(job)
            self._release(job)

    def _put_work(self, job: str) -> None:
        """A job's last checkpoint, and what belongs to it."""
        work = self.run / WORK / job
        try:
            stat = (work / KEPT[-1]).stat()
            if self._saved.get(job) == (stat.st_ino, stat.st_mtime_ns):
                return
            with tempfile.TemporaryDirectory(dir=self.mirror.place) as aside:
                copy = Path(aside, "checkpoint")
                os.link(work / KEPT[-1], copy)  # the log that is read after it knows all its steps
                for name in KEPT[:-1]:
                    self.mirror.objects.write(f"{WORK}/{job}/{name}", (work / name).read_bytes())
                self.mirror.objects.send({f"{WORK}/{job}/{KEPT[-1]}": copy})
                self._keeps(job, copy)
        except FileNotFoundError:  # it has just ended, or has not begun
            return
        self._saved[job] = stat.st_ino, stat.st_mtime_ns

    def _keeps(self, job: str, checkpoint: Path) -> None:
        """Let a leader know at once to where the job can be taken back."""
        from engine.store import step_of

        self._kept[job] = step_of(checkpoint)
        with self._lock:
            if not self.follows and (number := self._holds.get(job)):
                self.mirror.objects.write(_claim(job, number), self._said(job))

    def _bring_work(self, job: str) -> None:
        """Where another machine left a job, if that is further than it is here."""
        from engine.store import step_of

        self._kept.pop(job, None)
        work = self.run / WORK / job
        with tempfile.TemporaryDirectory(dir=self.mirror.place) as aside:
            files = {name: Path(aside, name) for name in KEPT}
            self.mirror.objects.fetch({f"{WORK}/{job}/{name}": path for name, path in files.items()})
            if all(path.exists() for path in files.values()) and (step := step_of(files[KEPT[-1]])):
                self._kept[job] = step
                if step <= step_of(work / KEPT[-1]):
                    return
                work.mkdir(parents=True, exist_ok=True)
                for name, path in files.items():
                    path.replace(work / name)

    def _record(self, job: str) -> dict[str, Any] | None:
        try:
            return read_record(self.run / job / RECORD, "")
        except UserError:
            return None

    # -- from the beginning to the end

    def begin(self) -> None:
        """Bring what others did. Raises UserError where the store cannot be used."""
        probe = f"{CLAIMS}/{RUN}-{self.mirror.identity}"
        with contextlib.suppress(NotImplementedError):
            self.mirror.objects.create(probe, b"")
            if self.mirror.objects.create(probe, b""):
                raise UserError(SHARED.format(self.mirror.url))
        self.mirror.objects.remove([probe])
        if self.follows:
            self._tell(self.mirror.pull(SCORES))
            self._drop(self.mirror.incomplete())
        self.look()
        self._ended.update(job for job in self.mirror.changed() if job != RUN)  # of a command that was killed
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Put there all that is not, and leave what is not done."""
        self._end.set()
        self._news.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while not self._all_put():
            if time.monotonic() > deadline:
                self.whole = False
                say(self.console, LEFT.format(self.mirror.url, self.run), "yellow")
                return
            time.sleep(LOOK)

    def _all_put(self) -> bool:
        """Whether all is there now. One that another machine is just putting there is looked at again."""
        with self._trying():
            self._carry()
            with self._lock:
                for job in list(self._holds):
                    self._release(job)
            if self.follows:
                self._tell(self.mirror.pull(SCORES))
            self.look()
            left = [job for job in self.mirror.changed() if not self._updated(job)]
            return not left
        return False

    def _updated(self, job: str) -> bool:
        """Put there what a command has made of a job that is done, while no other machine does so."""
        if job != RUN and (claims.is_held(self.run / WORK / job) or not self._claimed(job)):
            return False
        self._put(job) if job != RUN else self.mirror.push(job)
        return True

    def bring(self, level: int = ALL) -> None:
        """What is damaged there is to be made again. From here on nothing is brought before the end: scores of others
        are not to come between those that are made."""
        self._still = True
        with self._trying():
            damaged = self.mirror.pull(level)
            self.whole = self.whole and not damaged
            self._drop(damaged)

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """Whether the store answers is told when that changes."""
        try:
            yield
        except (Unreachable, OSError) as error:  # be it this machine's disk
            self._answers(error)
        else:
            self._answers(None)

    def _answers(self, error: Exception | None) -> None:
        if (error is not None) != self._away:
            self._away = error is not None
            say(self.console, AWAY.format(first_line(error)) if error else BACK.format(self.mirror.url), "yellow")

    def _drop(self, damaged: dict[str, str]) -> None:
        self._tell(damaged)
        for job in damaged:
            self.mirror.drop(job)

    def _tell(self, damaged: dict[str, str]) -> None:
        for said in damaged.values():
            say(self.console, f"{said}.", "yellow")


_working: dict[Path, Sharing] = {}


def part_in(run: Path) -> Part:
    """The part that this command has in a run."""
    return _working.get(run) or Part()


def shared(run: Path, console: Console, work: Callable[[], int | None]) -> int:
    """The exit code of `work`, which adds results to a run (`worked_on`): 1 where they could not all be put there."""
    with worked_on(run, console) as part:
        code = work()
    return code or int(not part.whole)


@contextlib.contextmanager
def worked_on(run: Path, console: Console, follows: bool = True) -> Iterator[Part]:
    """A run to which results are added: where it is in a store, what others put there is brought first, where this
    `follows` them, and what is new is put there meanwhile and at the end. Raises UserError where the store cannot be
    used."""
    if not (mirror := mirror_of(run)):
        yield Part()
        return
    sharing = _working[run] = Sharing(mirror, console, follows)
    try:
        sharing.begin()
        try:
            yield sharing
        finally:
            sharing.end()
    finally:
        del _working[run]


def looked(run: Path) -> None:
    """See in the folder of a run of a store who works at it. Raises UserError."""
    if mirror := mirror_of(run):
        reader = _readers.setdefault(run, Sharing(mirror, Console(quiet=True)))
        reader.look()
        reader.look_for_left()


_readers: dict[Path, Sharing] = {}


def _claim(job: str, number: int) -> str:
    return f"{CLAIMS}/{job}/{number:06d}.json"


def _numbers(names: Any) -> dict[str, list[int]]:
    """Of each job the numbers of its claims."""
    found: dict[str, list[int]] = {}
    for name in names:
        job, _, last = name[len(CLAIMS) + 1 :].rpartition("/")
        if is_job(job) and last.removesuffix(".json").isdecimal():
            found.setdefault(job, []).append(int(last.removesuffix(".json")))
    return found


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(content)
        return said if isinstance(said, dict) and isinstance(said.get("pid"), int) else {}
    except ValueError:
        return {}
