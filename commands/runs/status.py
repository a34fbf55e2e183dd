"""`run_benchmark.py status`: how far a run is, and who works at it, from its folder alone."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands.options import Parser, above_zero, add_run
from engine.remote.mirror import SCORES, name_of, needed
from engine.remote.sharing import looked
from errors import UserError
from records import RECORD, NewerError, outcome, read_record
from say import Console, say

DESCRIPTION = """Say how far a run is: what is done, runs, failed and waits, how long it will take, and which process is
where. Reads the run's folder alone, also while others work at it, and changes nothing."""

EPILOG = """example
  run_benchmark.py status results/runs/world-controlled --watch"""


@dataclass
class Status:
    """Of a run: records by job, what runs, what was begun and left, and what commands that live still want."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: dict[str, dict[str, Any]] = field(default_factory=dict)  # with `steps` and `age`, seconds since a sign
    left: list[str] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)  # steps by job
    commands: list[dict[str, Any]] = field(default_factory=list)

    @property
    def waiting(self) -> dict[str, int]:
        """What is wanted, not done, and not begun now."""
        done = {job for job, record in self.records.items() if outcome(record)[0] != "failed"}
        return {job: steps for job, steps in self.wanted.items() if job not in done and job not in self.running}

    @property
    def seconds(self) -> float | None:
        """That are left, by the pace of each method's jobs that are done; None where there is none yet."""
        paces: dict[str, list[float]] = {}
        for job, record in self.records.items():
            if record.get("step", 0) > 0 and record.get("seconds", 0) > 0:
                paces.setdefault(job.split("/")[0], []).append(record["seconds"] / record["step"])
        if not paces or not self.running:
            return None
        usual = statistics.median(pace for found in paces.values() for pace in found)
        ahead = list(self.waiting.items())
        ahead += [(job, said["steps"] - said["step"]) for job, said in self.running.items()]
        pace = {method: statistics.median(found) for method, found in paces.items()}
        return sum(n * pace.get(job.split("/")[0], usual) for job, n in ahead) / len(self.running)


def parser() -> Parser:
    made = Parser("status", DESCRIPTION, EPILOG)
    add_run(made)
    made.add_argument("--watch", type=above_zero, nargs="?", const=5.0, metavar="SECONDS",
                      help="look again every so many seconds, until nobody works at it; default: 5")  # fmt: skip
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    while True:
        looked(options.run)
        needed(options.run, SCORES)
        if not options.run.is_dir():
            raise UserError(f"There is no run in {options.run}: the folder does not exist.")
        found = status_of(options.run)
        if options.watch and console.is_terminal:
            console.clear()
        say(console, "\n".join(lines(options.run, found)))
        if not options.watch or not (found.running or found.commands):
            return 0
        time.sleep(options.watch)


def status_of(run: Path) -> Status:
    """Raises UserError where the folder holds no job, and NewerError for records of a later version."""
    from engine import claims

    found = Status()
    for job, folder in _folders(run):
        if (folder / RECORD).exists():
            found.records[job] = _record(folder)
    for job, folder in _folders(run / ".unfinished"):
        if claims.is_held(folder):
            found.running[job] = _worker(folder)
        else:
            found.left.append(job)
    for path in sorted((run / ".unfinished" / claims.ROSTER).glob("*.json")):
        if claims.is_written(path):
            said = _json(path)
            found.commands.append(said)
            found.wanted |= said.get("steps", {})
    if not (found.records or found.running or found.left or found.commands):
        raise UserError(f"There are no jobs in {run}: give the folder that a run was made in.")
    return found


def lines(run: Path, found: Status) -> list[str]:
    """What is printed."""
    ends = Counter(outcome(record)[0] for record in found.records.values())
    kinds = Counter(kind for end, kind in map(outcome, found.records.values()) if end == "diverged")
    why = f" ({', '.join(f'{n} {kind}' for kind, n in sorted(kinds.items()))})" if kinds else ""
    again = sum(record.get("tries", 1) - 1 for record in found.records.values())
    said = [
        name_of(run),
        f"  {ends['ok']} ok, {ends['diverged']} diverged{why}, {ends['failed']} failed, {len(found.running)} running, "
        f"{len(found.waiting)} waiting" + (f"; {again} tries more than jobs" if again else ""),
    ]
    if found.seconds is not None:
        said.append(f"  about {_time(found.seconds)} left")
    if not (found.running or found.commands):
        said.append("  nobody works at it" + (": the same command goes on from here" if found.left else ""))
    for job, it in sorted(found.running.items()):
        who = f"process {it.get('pid', '?')} on {it.get('host', '?')}"
        said.append(f"  running  {job}  {it['step']} of {it['steps']} steps, {who}, seen {it['age']:.0f} s ago")
    said += [f"  left     {job}" for job in sorted(found.left)]
    for job, record in sorted(found.records.items()):
        if outcome(record)[0] == "failed":
            tries = f", tried {record['tries']} times" if record.get("tries", 1) > 1 else ""
            said.append(f"  failed   {job}  {record.get('cause')}{tries}")
    for command in found.commands:
        said.append(f"  command  process {command['pid']} on {command['host']}, {len(command['steps'])} jobs to do")
    return said


def _folders(place: Path) -> Iterator[tuple[str, Path]]:
    """<method>/<prompt>/<seed> in a place, with the folder, in no order: by scandir, as there may be thousands."""
    found = [(entry.name, entry.path) for entry in _inside(place)]
    for _ in range(2):
        found = [(f"{name}/{e.name}", e.path) for name, path in found for e in _inside(Path(path))]
    return ((name, Path(path)) for name, path in found)


def _inside(place: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:  # it ended meanwhile
        return []


def _record(folder: Path) -> dict[str, Any]:
    """A damaged record is a failure's, as tables take it."""
    try:
        return read_record(folder / RECORD, "delete its folder and run the same command again")
    except NewerError:
        raise
    except UserError as error:
        return {"status": "damaged", "cause": str(error)}


def _worker(folder: Path) -> dict[str, Any]:
    said = _json(folder / "claim.json")
    steps = _json(folder / "config.json").get("recipe", {}).get("steps", 0)
    try:
        age = max(time.time() - (folder / "claim.json").stat().st_mtime, 0.0)
    except OSError:
        age = 0.0
    return {"step": 0, **said, "steps": steps, "age": age}


def _json(path: Path) -> dict[str, Any]:
    """A file that others write and remove; {} where it is not there now."""
    try:
        said = json.loads(path.read_text("utf-8"))
        return said if isinstance(said, dict) else {}
    except (OSError, ValueError):
        return {}


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
