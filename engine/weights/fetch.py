"""`run_benchmark.py fetch`: bring the published weights of the paper's suite, from wherever they can be had.

For each file, in this order: what lies in its folder already, a folder named as --mirror, Hugging Face's cache, an
address named as --mirror, the known sources. Every file is checked against its pinned SHA-256, or pinned as it came.
Archives become safetensors.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from engine.weights import manifest as weights
from engine.weights.download import Unavailable, download, fault, size
from engine.weights.manifest import File, Weight
from errors import UserError, first_line
from say import say

HUB = "https://huggingface.co"
NEWEST = ("main", "master")  # revisions of a hub's mirror
MOST, MORE = 2, 1 << 24  # times the size in the manifest, and bytes: what is longer is not the file
ROOM = 1.02  # of the size of what is fetched, free on the disk


@dataclass(frozen=True)
class Step:
    """A file that is not there yet; `near` is a copy of it on this machine."""

    weight: Weight
    file: File
    home: Path
    near: Path | None

    @property
    def title(self) -> str:
        return f"{self.weight.name}/{self.file.path}"

    @property
    def pinned(self) -> str | None:
        """The SHA-256 of the manifest, or of the first download."""
        entry = weights.read_lock(self.home).get(self.file.becomes or self.file.path, {})
        return self.file.sha256 or entry.get("of" if self.file.becomes else "sha256")


def plan(wanted: list[Weight], place: Path, mirror: str | None, thorough: bool, adopt: bool) -> list[Step]:
    """What is not there yet. What was put there by hand is pinned if `adopt`.

    Raises UserError where a file is not what was pinned."""
    steps = []
    for weight in wanted:
        home = place / weight.name
        for file in weight.files:
            if (state := weights.state(home, file, thorough)) == "missing":
                steps.append(Step(weight, file, home, local(weight, file, home, mirror)))
                continue
            found = weights.present(home, file)
            assert found is not None
            name = found.relative_to(home).as_posix()
            if state == "present" and adopt and name not in weights.read_lock(home):
                state = weights.state(home, file, thorough=True)
                weights.pin(home, name, weights.sha256(found), "by hand") if state == "present" else None
            if state == "changed":
                raise UserError(weights.changed(found))
            if thorough and not file.sha256 and (wrong := fault(found, found.suffix)):
                raise UserError(f"{found} is {wrong}: delete it and fetch again.")
    return steps


def local(weight: Weight, file: File, home: Path, mirror: str | None) -> Path | None:
    """A copy on this machine: an archive not yet converted, one in the mirror's folder, one in the cache."""
    places = [home / file.path] if file.becomes else []
    if mirror and "://" not in mirror:
        places += [Path(mirror).expanduser() / address for address in addresses(weight, file)]
    return next((p for p in places if p.is_file()), weights.cached(file))


def addresses(weight: Weight, file: File) -> list[str]:
    """Where a mirror may have a file: as a hub has it, or under the name of its weight."""
    hubs = [source.split("@") for source in file.sources if weights.is_hub(source)]
    return [*(f"{name}/resolve/{revision}/{file.path}" for name, revision in hubs), f"{weight.name}/{file.path}"]


def urls(step: Step, mirror: str | None) -> Iterator[str]:
    if mirror and "://" in mirror:
        yield from (f"{mirror.rstrip('/')}/{address}" for address in addresses(step.weight, step.file))
    hub = endpoint()
    for source in step.file.sources:
        base = "{}/{}/resolve/{}".format(hub, *source.split("@")) if weights.is_hub(source) else source
        yield f"{base}/{step.file.path}"
    if hub != HUB:  # a mirror may count its revisions itself: the checksum decides
        hubs = dict.fromkeys(source.split("@")[0] for source in step.file.sources if weights.is_hub(source))
        yield from (f"{hub}/{name}/resolve/{newest}/{step.file.path}" for name in hubs for newest in NEWEST)


def endpoint() -> str:
    """The hub's address."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def token_for(url: str) -> str | None:
    """The token of HF_TOKEN, or of the hub's own login, for addresses of the hub alone."""
    if urlsplit(url).netloc != urlsplit(endpoint()).netloc or os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        return None
    from huggingface_hub import get_token

    return get_token()


def check_room(steps: list[Step], place: Path) -> None:
    """Raises UserError where the disk has no room for what is missing, and for an archive beside what it becomes."""
    need = sum(step.file.bytes - come(step) for step in steps)
    need += 2 * max((step.file.bytes for step in steps if step.file.becomes), default=0)
    free = free_bytes(place)
    if ROOM * need > free:
        raise UserError(f"{need / 1e9:.1f} GB are needed in {place}, and {free / 1e9:.1f} GB are free: see --to.")


def come(step: Step) -> int:
    """Bytes of a file that an earlier fetch has brought."""
    parts = (step.home / step.file.path).parent.glob(f"{Path(step.file.path).name}.*.part")
    return min(max(map(size, parts), default=0), step.file.bytes)


def free_bytes(place: Path) -> int:
    """Free on the disk of a folder that may not be there yet."""
    there = next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())
    return shutil.disk_usage(there).free


@dataclass
class Carrier:
    """Brings files one after the other, and remembers `silent`, the hosts that gave no connection."""

    mirror: str | None
    console: Console
    silent: set[str] = field(default_factory=set)

    def carry(self, steps: list[Step]) -> list[str]:
        """Bring every file; what no source has is told in the list that is returned."""
        failures: list[str] = []
        bars = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*bars, TimeRemainingColumn(), console=self.console, disable=not steps) as progress:
            every = progress.add_task("all", total=sum(step.file.bytes for step in steps))
            one = progress.add_task("", total=None)
            done = 0
            for step in steps:
                progress.reset(one, description=step.title, total=step.file.bytes)

                def hear(come: int, total: int | None, step: Step = step, before: int = done) -> None:
                    progress.update(one, completed=come, total=total or step.file.bytes)
                    progress.update(every, completed=before + come)

                try:
                    self.bring(step, hear)
                except Unavailable as error:
                    failures.append(f"{step.title} is not to be had ({error})")
                done += step.file.bytes
                progress.update(every, completed=done)
        return failures

    def bring(self, step: Step, hear: Callable[[int, int | None], None]) -> None:
        """Bring one file, convert it if it is an archive, and pin it. Raises Unavailable."""
        near = take(step)
        if near is None or keep(step, *near):
            self.download(step, hear)

    def download(self, step: Step, hear: Callable[[int, int | None], None]) -> None:
        """From the first source that has it."""
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise Unavailable("HF_HUB_OFFLINE is set, and no right copy is on this machine")
        reasons = []
        for url in urls(step, self.mirror):
            host = urlsplit(url).netloc
            if host in self.silent:
                continue
            try:
                file, tell, most = step.home / step.file.path, partial(say, self.console), MOST * step.file.bytes + MORE
                digest = download(url, file, step.pinned, hear, token=token_for(url), told=tell, most=most)
                if wrong := keep(step, step.file.path, digest, url):
                    raise Unavailable(wrong)
                return
            except Unavailable as error:
                say(self.console, f"{step.title}: {url}: {error}")
                reasons.append(f"{host}: {error}")
                if "no connection" in str(error):
                    self.silent.add(host)
        raise Unavailable("; ".join(reasons) or "no source gives a connection")


def keep(step: Step, name: str, digest: str, source: str) -> str:
    """Pin a file that has come, converted if it is an archive; what is wrong with it where it cannot be: then it is not
    kept, but for one of the right checksum."""
    if step.file.becomes is None:
        weights.pin(step.home, name, digest, source)
        return ""
    from engine.weights.convert import to_safetensors  # torch takes its time to import, and most files need none

    archive, file = step.home / name, step.home / step.file.becomes
    try:
        to_safetensors(archive, file)
    except UserError as error:
        if step.pinned:
            raise
        archive.unlink()
        return first_line(error).removesuffix(": delete it and fetch again")
    weights.pin(step.home, step.file.becomes, weights.sha256(file), source, of=digest)
    archive.unlink()
    return ""


def take(step: Step) -> tuple[str, str, str] | None:
    """The copy on this machine, where it is the right one: its name, its checksum, and where it was."""
    if step.near is None:
        return None
    name, digest = step.file.path, weights.sha256(step.near)
    if step.near.name != Path(name).name:
        name = step.file.names[-1]  # the file in single precision, which nothing is pinned for
    elif step.pinned and digest != step.pinned:
        return None
    file = step.home / name
    if file != step.near:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        new.unlink(missing_ok=True)
        try:
            os.link(step.near.resolve(), new)  # no second copy on the disk, and it outlives the cache
        except OSError:
            shutil.copyfile(step.near, new)
        new.replace(file)
    return name, digest, str(step.near)


def show_plan(steps: list[Step], wanted: list[Weight], place: Path, mirror: str | None, console: Console) -> None:
    for weight in wanted:
        missing = [step for step in steps if step.weight is weight]
        say(console, f"{weight.name}: {weight.what}; licence: {weight.licence}")
        say(console, f"  {len(weight.files) - len(missing)} of {len(weight.files)} files are in {place / weight.name}")
        told: list[str] = []
        for step in missing:
            sources = [url.removesuffix(f"/{step.file.path}") for url in urls(step, mirror)]
            if step.near is None and told != sources:
                say(console, "  from " + "\n    or ".join(sources))
                told = sources
            aside = f" in {step.near}" if step.near else f" ({come(step) / 1e6:.1f} MB are here)" if come(step) else ""
            say(console, f"  {step.file.bytes / 1e3:13,.0f} kB  {step.file.path}{aside}")
    need = sum(step.file.bytes for step in steps if step.near is None)
    say(console, f"{need / 1e9:.1f} GB to download, {free_bytes(place) / 1e9:.1f} GB free.")
