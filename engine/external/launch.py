"""External jobs, done: each is started, watched, read, and recorded as what became of it."""

from __future__ import annotations

import os
import platform
import queue
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.claims import Gone, Held
from engine.external import collect, gpu, process
from engine.external.jobs import ExternalJob
from engine.external.process import Ended
from engine.machine import devices_of
from engine.progress import Bars
from engine.recipes.base import Orbit
from engine.recipes.tables import recipe
from engine.remote.sharing import part_in
from engine.request import Request
from engine.store import Store
from engine.worker import full, is_full
from errors import UserError, first_line
from files import write_text
from say import Console

LOG, OUTPUT = "log.txt", "output"
VISIBLE = "CUDA_VISIBLE_DEVICES"
LOOK = 1.0  # seconds between two looks at a job that another command has
STOPPED = "Stopped, and the programs ended with all that they started; the same command begins their jobs anew."
Records = dict[Path, dict[str, Any]]


def launch(request: Request, jobs: Sequence[ExternalJob], console: Console) -> Records:
    """Do the jobs, one at a time on each device; returns their records by path. Raises UserError where the disk is
    full, and KeyboardInterrupt, with all programs ended, when stopped."""
    if not jobs:
        return {}
    with Bars(jobs, console) as bars, _terminable():  # type: ignore[arg-type]
        return Line(request, jobs, bars).done()


@contextmanager
def _terminable() -> Iterator[None]:
    """An end that is asked for by the system is one as by Ctrl-C: no program is left behind."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Line:
    """Jobs in a line, and a thread a place that takes from it."""

    def __init__(self, request: Request, jobs: Sequence[ExternalJob], bars: Bars):
        self.request, self.bars, self.part = request, bars, part_in(request.out)
        self.waiting: queue.SimpleQueue[ExternalJob] = queue.SimpleQueue()
        for job in jobs:
            self.waiting.put(job)
        self.stop, self.records, self.errors = threading.Event(), Records(), list[BaseException]()
        self.theirs: set[Path] = set()  # jobs that another command had

    def done(self) -> Records:
        places = self._places()
        over = [threading.Event() for _ in places]  # a join that Ctrl-C interrupts takes its thread for ended
        for variables, end in zip(places, over, strict=True):
            threading.Thread(target=self._work, args=(variables, end), daemon=True).start()
        try:
            while not all(end.wait(LOOK) for end in over):
                pass
        except KeyboardInterrupt:
            self.stop.set()
            for end in over:
                end.wait(2 * process.GRACE + 5)
            raise KeyboardInterrupt(STOPPED) from None
        if self.errors:
            raise self.errors[0]
        return self.records

    def _places(self) -> list[dict[str, str]]:
        """Variables for each job at a time: each GPU that is used has a place."""
        devices = devices_of(self.request.device)
        chosen = [{VISIBLE: _gpu(device)} if device.startswith("cuda:") else {} for device in devices]
        wanted = int(self.request.jobs) if self.request.jobs.isdecimal() else len(devices)
        return [chosen[k % len(chosen)] for k in range(min(max(wanted, 1), self.waiting.qsize()))]

    def _work(self, variables: dict[str, str], end: threading.Event) -> None:
        try:
            while not self.stop.is_set() and not self.waiting.empty():
                job = self.waiting.get_nowait()
                self.bars.begin(job.path)
                try:
                    record = self._do(job, variables)
                except (Held, Gone):
                    self.bars.back(job.path)
                    self.part.leave(job.path)
                    self.theirs.add(job.path)
                    self.waiting.put(job)
                    self.stop.wait(LOOK)
                    continue
                if record is not None:
                    self.records[job.path] = record
                    self.part.put(job.path)
                    self.bars.end(job.path, record)
        except queue.Empty:
            return
        except BaseException as error:
            said = UserError(full(self.request.out)) if is_full(error) else error
            self.errors.append(said)
            self.stop.set()
        finally:
            end.set()

    def _do(self, job: ExternalJob, variables: dict[str, str]) -> dict[str, Any] | None:
        """The record of a job; None where it was stopped."""
        store, config = Store(self.request.out, job), job.config(self.request)  # type: ignore[arg-type]
        if job.path in self.theirs and (record := store.found(job.key)) is not None:
            return record  # how it ended there, be it by a failure
        if not self.part.take(job.path):
            raise Held
        with store.opened(config) as found:
            if found is not None:
                return found
            out, log = store.work / OUTPUT, store.work / LOG
            shutil.rmtree(out, ignore_errors=True)  # of a try before: nobody knows what an engine does with its remains
            out.mkdir()
            try:
                ended = self._run(job, out, log, variables)
            except OSError as error:
                if is_full(error):
                    raise
                write_text(log, "")
                record = {"status": "crashed", "cause": f"it cannot be started ({first_line(error)})"}
                return store.finish(record)
            if ended.reason == "stopped":
                return None
            return self._finished(job, store, ended)

    def _run(self, job: ExternalJob, out: Path, log: Path, variables: dict[str, str]) -> Ended:
        given, spec = job.filled(out), job.spec
        for name, text in spec.files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(out / name, spec.filled(text, given, quoted=True))
        return process.run(
            job.command(out),
            spec.folder,
            variables | {name: spec.filled(text, given) for name, text in spec.environment.items()},
            log,
            spec.log,
            mark=f"{self.request.out.absolute()} {job.path}",
            timeout=60 * spec.timeout_minutes,
            told=lambda step: self.bars.step(job.path, min(step, job.recipe.steps)),
            stop=self.stop,
        )

    def _finished(self, job: ExternalJob, store: Store, ended: Ended) -> dict[str, Any]:
        """Put the job's folder in place: the log, the views, and all that the engine wrote."""
        out, record = store.work / OUTPUT, verdict(ended, job)
        orbit = _orbit(self.request, job)
        views = store.work / "views"
        shutil.rmtree(views, ignore_errors=True)
        if record["status"] == "finished":
            try:
                files = job.spec.filled(job.spec.renders.files, job.filled(out))
                collect.views(job.spec.renders, files, out, job.prompt, orbit, views)
            except UserError as error:
                record |= {"status": "crashed", "cause": str(error)} | ({"status": "non-finite"} if _nan(ended) else {})

        def fill(folder: Path) -> None:
            shutil.copy2(store.work / LOG, folder / LOG)
            if record["status"] == "finished":
                views.rename(folder / "views")
                out.rename(folder / OUTPUT)

        record |= measured(ended, job)
        return store.finish(record, fill)


def _gpu(device: str) -> str:
    """The driver's name of a device that has a number here: of those that this program sees itself."""
    seen, number = os.environ.get(VISIBLE), device.partition(":")[2]
    return seen.split(",")[int(number)].strip() if seen else number


def verdict(ended: Ended, job: ExternalJob) -> dict[str, Any]:
    """Status and cause: what the exit code says, and, where it is no 0, what the last lines of the log do."""
    if ended.reason == "timeout":
        return {
            "status": "timed-out",
            "cause": f"it was ended after {job.spec.timeout_minutes:g} minutes, its spec's most",
        }
    if ended.reason == "diverged":
        return {"status": "non-finite", "cause": f"its loss is no number: {ended.tail[-1][:200]}"}
    if ended.code == 0:
        return {"status": "finished", "cause": None}
    said = next((line for line in reversed(ended.tail) if process.SAYS_MEMORY.search(line)), None)
    if said or ended.killed_for_memory:
        return {"status": "out-of-memory", "cause": (said or "the system ended it, out of memory")[:200]}
    if _nan(ended):
        return {"status": "non-finite", "cause": ended.tail[-1][:200]}
    return {"status": "crashed", "cause": f"{_code(ended.code)}: {ended.tail[-1][:200] or 'it said nothing'}"}


def _nan(ended: Ended) -> bool:
    return any(process.SAYS_NAN.search(line) for line in ended.tail)


def _code(code: int | None) -> str:
    if code is not None and code < 0:
        return f"it was killed by {signal.Signals(-code).name}"
    return f"it ended with code {code}"


def measured(ended: Ended, job: ExternalJob) -> dict[str, Any]:
    """What a job cost. Memory is what the driver says of the processes on a GPU, or, where there is none, what they
    hold of the machine's; on a machine with a GPU that they are not seen on, it is not known."""
    name = gpu.name()
    peak = ended.peak if name is None else ended.gpu_peak
    kind = "process tree" if name is None else "process tree on the GPU, by its driver"
    return {
        **({"step": ended.step} if ended.step else {}),
        **({"steps": job.given["steps"]} if job.given["steps"] else {}),
        "seconds": ended.seconds,
        **({"peak_bytes": peak, "memory": kind} if peak is not None else {}),
        "host_peak_bytes": ended.peak,
        "device": name or platform.processor() or platform.machine(),
        "code": ended.code,
    }


def _orbit(request: Request, job: ExternalJob) -> Orbit:
    """From where meshes are seen: as the suite's own scenes."""
    own = recipe(request.suite.name, request.track, "sdi")
    return own.changed(views=job.given["views"], resolution=request.resolution).orbit
