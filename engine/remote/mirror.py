"""A run in an object store, and the folder of this machine that mirrors it.

    URL/<recipe>/<NN-slug>/<seed>/...          the same tree as a run's folder
    URL/.sums/<recipe>/<NN-slug>/<seed>.json   {file: [SHA-256, bytes, time]} of a job's files
    URL/.sums/run.json                         likewise, of what lies beside the jobs: tables, figures, weights

A job's files are put first, then its record, and its sums last: what has sums is whole. Files are brought when they are
needed, and held against their sums.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256 as hashed
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from engine import claims
from engine.remote.objects import Objects
from errors import UserError
from files import sha256, write_json, write_text
from locks import held
from records import RECORD, outcome, read_record

SUMS, RUN = ".sums", "run"  # RUN: what lies beside the jobs
KNOWN, IDENTITY = ".known", ".identity"  # beside the folder that mirrors
SCORES, VIEWS, ALL = range(3)  # what is needed of a run: its numbers; its pictures, too; its scenes, too
NUMBERS = {RECORD, "config.json", "scores.csv", "scores.json", "views/orbit.json"}
HEAVY = re.compile(r"(scene\.safetensors|output/.*)")
JOB, FILE = re.compile(r"[^/.][^/]*(/[^/.][^/]*){2}"), re.compile(r"[^/.][^/]*(/[^/.][^/]*)*")
AT_ONCE = 16  # jobs that are brought side by side
TRIES, LATER = 3, 0.5  # to read what another is just putting, and seconds between them
Sum = list  # SHA-256, bytes, nanoseconds of its last change
Sums = dict[str, Sum]


def place_of(name: str) -> Path:
    """The folder that the name of a run means: itself, or the one that mirrors a URL. Nothing is asked or made yet."""
    if "://" not in name:
        return Path(name)
    if name.startswith("file://"):
        return Path(url2pathname(urlsplit(name).path))
    url = name.rstrip("/")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    place = caches / "score-distillation" / "runs" / hashed(url.encode()).hexdigest()[:12]
    run = place / (re.sub(r"[^\w.-]+", "-", url.rpartition("/")[2]).lstrip(".") or "run")
    _mirrors.setdefault(run, Mirror(url, run))
    return run


def mirror_of(run: Path) -> Mirror | None:
    return _mirrors.get(run)


def name_of(run: Path) -> str:
    """What its user calls a run."""
    return mirror.url if (mirror := mirror_of(run)) else str(run)


def needed(run: Path, level: int = ALL) -> None:
    """Bring what a command reads of a run, where that is in a store. Raises UserError where that cannot be, and where
    it is damaged."""
    if not (mirror := mirror_of(run)):
        return
    if damaged := mirror.pull(level):
        raise UserError(f"{'; '.join(damaged.values())[:2000]}.")
    if not run.is_dir():
        raise UserError(f"There is no run in {mirror.url}: nothing is there.")


@dataclass
class Known:
    """Of a job: the sums that the store has, and those of the files that were the same on both sides when last seen."""

    there: Sums = field(default_factory=dict)
    here: Sums = field(default_factory=dict)


class Mirror:
    """`run` is the folder, `url` what it mirrors. A job is named by its path; RUN is what lies beside all jobs."""

    def __init__(self, url: str, run: Path):
        self.url, self.run, self.place = url, run, run.parent
        self._seen: dict[str, str] = {}  # stamps of sums
        self._broken: dict[str, Sums] = {}  # what is damaged there: it is made again

    @cached_property
    def objects(self) -> Objects:
        return Objects(self.url)

    @cached_property
    def identity(self) -> str:
        """What tells mirrors apart, also those of one machine."""
        path = self.place / IDENTITY
        self.place.mkdir(parents=True, exist_ok=True)
        with held(self.place):
            if not path.exists():
                write_text(path, uuid.uuid4().hex)
        return path.read_text("utf-8")

    # -- from there

    def pull(self, level: int) -> dict[str, str]:
        """Bring what has changed there and is needed; returns what is damaged there, a sentence a job. Jobs that are
        done here now are left alone, and results that were never put there are kept."""
        names = {name[len(SUMS) + 1 : -len(".json")]: e.stamp for name, e in self.objects.find(SUMS).items()}
        found = {job: stamp for job, stamp in names.items() if job == RUN or is_job(job)}
        seen = {job for job, stamp in found.items() if self._seen.get(job) == f"{stamp} {level}" and self._is_here(job)}
        new = found.keys() - seen
        with self._alone(), ThreadPoolExecutor(AT_ONCE) as threads:
            for job in self._known_jobs() - found.keys():
                self._forget(job)
            sums = self._sums(new)
            free = [job for job in sorted(new) if not self.is_done_here(job)]
            said = list(threads.map(lambda job: self._met(job, sums.get(job, {}), level), free))
            self._seen |= {job: f"{found[job]} {level}" for job in free}
        return {job: why for job, why in zip(free, said, strict=True) if why}

    def incomplete(self) -> dict[str, str]:
        """Jobs of which an object is gone or has another size, a sentence each: they are to be made again."""
        before = self._wrong(self._known_jobs() - {RUN, *self._broken})
        if before:
            time.sleep(LATER)  # another may be putting it
        still = self._wrong(before.keys())
        self._broken |= {job: self._known(job).there for job in still}
        return {job: self._damaged(f"{job}/{name}") for job, name in still.items()}

    def _wrong(self, jobs: Collection[str]) -> dict[str, str]:
        """Jobs whose sums are those that are known, with an object that is not as they say."""
        found: dict[str, str] = {}
        there, sums = (self.objects.find(""), self._sums(jobs)) if jobs else ({}, {})
        for job, said in sums.items():
            names = [name for name in said if not _is_derived(job, name) and said == self._known(job).there]
            sizes = {name: there[_object(job, name)].size for name in names if _object(job, name) in there}
            if wrong := [name for name in names if sizes.get(name) != said[name][1]]:
                found[job] = wrong[0]
        return found

    def refresh(self, job: str, level: int = SCORES) -> dict[str, str]:
        """The same of what is needed of one job, at once."""
        with self._alone():
            sums = self._sums([job]).get(job)
            if sums is None:
                self._forget(job)
                return {}
            return {job: said} if (said := self._met(job, sums, level)) else {}

    def _met(self, job: str, there: Sums, level: int) -> str | None:
        """Take what is there for what is here, but for a result that was not put there yet, and is of another end."""
        if there == self._broken.get(job):
            return None
        if not there:
            self._broken[job] = there
            self._forget(job)
            return self._damaged(f"{SUMS}/{job}.json")
        if job != RUN and self._is_another(job, there):
            self._keep(job, Known(there))
            return None
        return self._bring(job, there, level)

    def _bring(self, job: str, sums: Sums, level: int) -> str | None:
        """Make a job's files those of the sums, as far as they are needed."""
        for _ in range(TRIES):
            known, folder = self._known(job), self._folder(job)
            redone = sums.get(RECORD, [""])[0] != known.there.get(RECORD, [""])[0]
            if redone and job != RUN and folder.exists():
                with held(folder):
                    shutil.rmtree(folder)
                known.here = {}
            new = self._new_here(known) if job == RUN else set()
            wanted = {
                name: said
                for name, said in sums.items()
                if _level(job, name) <= level and known.here.get(name, [""])[0] != said[0] and name not in new
            }
            if not wanted and known.there == sums:
                return None
            lost = self._fetched(job, wanted)
            wrong = [name for name in lost if not _is_derived(job, name)]
            self._keep(
                job,
                Known(
                    {n: s for n, s in sums.items() if n not in lost or n in wrong},
                    known.here | {n: s for n, s in wanted.items() if n not in lost},
                ),
            )
            if not wrong:
                self._clear(job)
                return None
            time.sleep(LATER)
            sums = self._sums([job]).get(job, {})  # another may have been putting it
        self._broken[job] = sums
        if not self._is_here(job):
            self._forget(job)
        return self._damaged(f"{job}/{wrong[0]}")

    def _damaged(self, name: str) -> str:
        return f"{self.url}/{name} is damaged or gone: remove it, and the run's command makes its job again"

    def _fetched(self, job: str, wanted: Sums) -> list[str]:
        """Bring files, the record last; returns those that are not as their sums say, or cannot be without them."""
        lost: list[str] = []
        with tempfile.TemporaryDirectory(dir=self.place) as aside:
            files = {name: Path(aside, str(k)) for k, name in enumerate(wanted)}
            self.objects.fetch({_object(job, name): path for name, path in files.items()})
            for name, path in sorted(files.items(), key=lambda item: item[0] == RECORD):
                half = name == RECORD and not all(_is_derived(job, other) for other in lost)
                if half or not path.exists() or sha256(path) != wanted[name][0]:
                    lost.append(name)
                    continue
                os.utime(path, ns=(wanted[name][2],) * 2)
                target = self._folder(job) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        return sorted(lost, key=lambda name: name == RECORD)

    # -- to there

    def changed(self) -> list[str]:
        """Jobs, and what lies beside them, that are not there as they are here."""
        folders = [f for f in self.run.glob("[!.]*/[!.]*/[!.]*") if (f / RECORD).is_file()]
        jobs = [f.relative_to(self.run).as_posix() for f in folders]
        return [job for job in (*sorted(jobs), RUN) if self.is_changed(job)]

    def is_changed(self, job: str) -> bool:
        return self._sums_here(job) != self._known(job).here

    def push(self, job: str) -> None:
        """Put there what has changed here. A result that another has put there meanwhile, of the same job, stays, and
        takes the place of the one here."""
        with self._alone():
            there = self._sums([job]).get(job, {})
            if there != self._known(job).there:
                self._met(job, there, SCORES) if there else self._keep(job, Known())
            self._send(job)

    def _send(self, job: str) -> None:
        known, here = self._known(job), self._sums_here(job)
        redone = here.get(RECORD, [""])[0] != known.there.get(RECORD, [""])[0]
        new = {n for n, said in here.items() if redone or known.there.get(n, [""])[0] != said[0]}
        gone = {n for n in (known.there if redone and job != RUN else known.here) if n not in here}
        if new or gone:
            there = {n: s for n, s in known.there.items() if n not in gone} | here
            if redone and job != RUN:
                self.objects.remove([f"{SUMS}/{job}.json", _object(job, RECORD)])
            for some in (new - {RECORD}, new & {RECORD}):
                self.objects.send({_object(job, n): self._folder(job) / n for n in sorted(some)})
            self.objects.write(f"{SUMS}/{job}.json", json.dumps(there).encode())
            self.objects.remove(_object(job, n) for n in gone)
            known.there = there
        self._keep(job, Known(known.there, here))

    def _is_another(self, job: str, there: Sums) -> bool:
        """Whether the result here is new, and no other end of the same job was there before it."""
        path, theirs = self._folder(job) / RECORD, _object(job, RECORD)
        if not path.exists() or sha256(path) in (
            there.get(RECORD, [""])[0],
            self._known(job).here.get(RECORD, [""])[0],
        ):
            return False
        try:
            ended, ours = json.loads(self.objects.read([theirs])[theirs]), read_record(path, "")
            return outcome(ended)[0] == "failed" or ended["key"] != ours["key"]
        except (ValueError, KeyError, UserError):  # damaged there
            return True

    # -- what is here

    def _folder(self, job: str) -> Path:
        return self.run if job == RUN else self.run / job

    def _sums_here(self, job: str) -> Sums:
        """Of a job's files; those that have not changed since they were the same there are not read again."""
        folder, before, found = self._folder(job), self._known(job).here, {}
        for path in _files(folder, beside=job == RUN):
            name, stat = path.relative_to(folder).as_posix(), path.stat()
            was = before.get(name, [])
            same = was[1:] == [stat.st_size, stat.st_mtime_ns]
            found[name] = was if same else [sha256(path), stat.st_size, stat.st_mtime_ns]
        return found

    def _is_here(self, job: str) -> bool:
        return job == RUN or (self._folder(job) / RECORD).exists()

    def _new_here(self, known: Known) -> set[str]:
        """Tables and figures that were made here since, which are not to be lost to those of another machine."""
        return {name for name, said in self._sums_here(RUN).items() if known.here.get(name, [""])[0] != said[0]}

    def is_done_here(self, job: str) -> bool:
        """Whether a process of this machine has the job now."""
        work = self.run / ".unfinished" / job
        said = claims.owner(work) or {}
        return said.get("machine") == claims.machine() and claims.is_held(work)

    def _forget(self, job: str) -> None:
        """Somebody removed there what was the same here."""
        if job != RUN and self._folder(job).exists() and self._sums_here(job) == self._known(job).here:
            shutil.rmtree(self._folder(job))
            claims.remove_empty(self._folder(job).parent, 2)
        self._known_path(job).unlink(missing_ok=True)
        self._seen.pop(job, None)

    def drop(self, job: str) -> None:
        """Forget a job here that is damaged there, so that it is made again and put in its place."""
        with self._alone():
            shutil.rmtree(self._folder(job), ignore_errors=True)
            self._forget(job)

    def _clear(self, job: str) -> None:
        """Nothing is left to do of a job that has ended."""
        with contextlib.suppress(UserError, OSError):
            if job != RUN and outcome(read_record(self.run / job / RECORD, ""))[0] != "failed":
                shutil.rmtree(self.run / ".unfinished" / job)
                claims.remove_empty((self.run / ".unfinished" / job).parent, 3)

    # -- what is known

    def _sums(self, jobs: Iterable[str]) -> dict[str, Sums]:
        found = self.objects.read(f"{SUMS}/{job}.json" for job in jobs)
        return {name[len(SUMS) + 1 : -len(".json")]: _parsed(content) for name, content in found.items()}

    def _known_path(self, job: str) -> Path:
        return self.place / KNOWN / f"{job}.json"

    def _known_jobs(self) -> set[str]:
        top = self.place / KNOWN
        return {path.relative_to(top).as_posix()[: -len(".json")] for path in top.rglob("*.json")}

    def _known(self, job: str) -> Known:
        """Nothing of a job whose folder was removed here: it is brought again."""
        if not self._is_here(job):
            return Known()
        try:
            return Known(**json.loads(self._known_path(job).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return Known()

    def _keep(self, job: str, known: Known) -> None:
        path = self._known_path(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, vars(known))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One thread of one command at a time."""
        self.place.mkdir(parents=True, exist_ok=True)
        with held(self.place):
            yield


_mirrors: dict[Path, Mirror] = {}


def _level(job: str, name: str) -> int:
    if job == RUN:
        return SCORES if "/" not in name or name.startswith("guidance_weights/") else ALL
    return SCORES if name in NUMBERS else ALL if HEAVY.fullmatch(name) else VIEWS


def _is_derived(job: str, name: str) -> bool:
    """Whether it is made of other files: scores, tables, figures. What of it is damaged is made again of those."""
    made = {RECORD, "config.json", "log.jsonl", "log.txt", "scene.safetensors"}
    return job == RUN or not (name in made or name.startswith(("views/", "output/")))


def _object(job: str, name: str) -> str:
    return name if job == RUN else f"{job}/{name}"


def _files(folder: Path, beside: bool) -> Iterator[Path]:
    """The files of a job, or of what lies `beside` the jobs; without hidden ones, and those that are being written."""
    for top, folders, files in os.walk(folder):
        depth = len(Path(top).relative_to(folder).parts)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not (beside and depth == 2 and Path(top, name, RECORD).exists())
        ]
        yield from (Path(top, n) for n in files if not n.startswith(".") and not n.endswith(".aside"))


def is_job(name: str) -> bool:
    """Whether a name of the store's can be a job's path: nobody is led out of the run's folder."""
    return JOB.fullmatch(name) is not None


def _parsed(content: bytes) -> Sums:
    """Sums that are damaged are of nothing: the job is made again."""
    try:
        found = json.loads(content)
        whole = all(FILE.fullmatch(n) and list(map(type, said)) == [str, int, int] for n, said in found.items())
    except (ValueError, TypeError, AttributeError):
        return {}
    return found if whole else {}
