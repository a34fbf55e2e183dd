"""The published weights of the paper's suite: which files, from where, where they lie, and whether they are themselves.

A weight is a folder `<weights>/<name>` that `run_benchmark.py fetch` fills. Beside its files lies `weights.lock`, with
SHA-256, size, time and source of each as it came. What the manifest pins must match the manifest; where no public
record of a file is at hand, its first download is recorded, and pinned from then on.

Sizes in the manifest serve planning alone: a download is as long as its server says, and is judged by its checksum.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from errors import UserError
from files import read_json, read_text, sha256

MANIFEST = Path(__file__).with_name("weights.json")
PLACE = "SCORE_DISTILLATION_WEIGHTS"  # the environment variable of the folder of all weights
LOCK = "weights.lock"  # no .json: checksums of folders are over their .json files
HALF = ".fp16"
FACTOR = 8  # pixels a latent along an edge, of Stable Diffusion
State = Literal["present", "missing", "changed"]


@dataclass(frozen=True)
class File:
    """A file of a weight. `sources` are `owner/repository@revision` of a hub, or the address of a folder; `becomes` is
    the safetensors file that an archive is read into; `sha256` is None where it is not known."""

    path: str
    sources: tuple[str, ...]
    bytes: int
    sha256: str | None = None
    becomes: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The file's name in its folder; single precision serves in place of half."""
        full = self.path.replace(HALF, "")
        return (self.becomes or self.path, *([full] if full != self.path else []))


@dataclass(frozen=True)
class Weight:
    """A folder of files. `methods`: the rules that alone read it; all do where there are none."""

    name: str
    what: str
    licence: str
    files: tuple[File, ...]
    methods: tuple[str, ...] = ()

    def serves(self, methods: list[str]) -> bool:
        return not self.methods or bool({*self.methods} & {*methods})

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@cache
def manifest() -> dict[str, Weight]:
    """All weights by name, in the order of need."""
    return {name: _weight(name, entry) for name, entry in json.loads(MANIFEST.read_text("utf-8")).items()}


def _weight(name: str, entry: dict[str, Any]) -> Weight:
    files = [
        File(path, tuple(part["sources"]), **facts) for part in entry["parts"] for path, facts in part["files"].items()
    ]
    return Weight(name, entry["what"], entry["licence"], tuple(files), tuple(entry.get("methods", ())))


def place() -> Path:
    """The folder of all weights: $SCORE_DISTILLATION_WEIGHTS, else `score-distillation` in Hugging Face's home."""
    named = os.environ.get(PLACE)
    return Path(named).expanduser() if named else hub_home() / "score-distillation"


def hub_home() -> Path:
    """Hugging Face's home as its own libraries find it."""
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or Path(caches) / "huggingface").expanduser()


def cached(file: File) -> Path | None:
    """The file in Hugging Face's cache, of any of its repositories: the pinned revision before others."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    hub = Path(named or hub_home() / "hub").expanduser()
    wanted = (file.path, *file.names[1:])
    for repository, revision in (source.split("@") for source in file.sources if is_hub(source)):
        snapshots = hub / f"models--{repository.replace('/', '--')}" / "snapshots"
        for snapshot in sorted(snapshots.glob("*"), key=lambda s: (s.name != revision, s.name)):
            for name in wanted:
                if (snapshot / name).is_file():
                    return snapshot / name
    return None


def is_hub(source: str) -> bool:
    return "://" not in source


def folder(name: str) -> Path | None:
    """Where a weight lies with all of its files; None where it does not.

    Raises UserError where a file has another size than the one that was fetched."""
    home, weight = place() / name, manifest()[name]
    lock = read_lock(home)
    for file in weight.files:
        found = present(home, file)
        if found is None:
            return None
        entry = lock.get(found.relative_to(home).as_posix())
        if entry and entry["bytes"] != found.stat().st_size:
            raise UserError(changed(found))
    return home


def needed(name: Path | str, option: str) -> str:
    """The folder of a model that a suite names, and an option otherwise. Raises UserError where it is not there."""
    if home := located(name):
        return str(home)
    if isinstance(name, Path):
        raise UserError(f"There is no {name}, which is shipped: restore it, or give {option} a folder.")
    what = manifest()[name].what
    raise UserError(
        f"There is no {name} in {place()} ({what}): run_benchmark.py fetch {name} brings it, or give {option} a folder."
    )


def located(source: Path | str | None) -> Path | None:
    """The folder of a model that a suite names: one that is shipped, or a weight's; None where it is not there."""
    if isinstance(source, str):
        return folder(source)
    return source if source and source.is_dir() else None


def present(home: Path, file: File) -> Path | None:
    """The file in its weight's folder, under one of its names."""
    return next((home / name for name in file.names if (home / name).is_file()), None)


def state(home: Path, file: File, thorough: bool = False) -> State:
    """Whether a file is there, and is what was fetched. It is read again only where its time or size differ from the
    lock's, or when `thorough`."""
    found = present(home, file)
    if found is None:
        return "missing"
    entry = read_lock(home).get(found.relative_to(home).as_posix())
    if entry is None:  # put there by hand: the manifest alone can judge it
        pinned = file.sha256 if found.name == PurePosixPath(file.path).name else None
        return "present" if not (thorough and pinned) or sha256(found) == pinned else "changed"
    facts = found.stat()
    if facts.st_size != entry["bytes"]:
        return "changed"
    if facts.st_mtime_ns == entry["modified"] and not thorough:
        return "present"
    return "present" if sha256(found) == entry["sha256"] else "changed"


def changed(file: Path) -> str:
    return f"{file} is not what was fetched: delete it and fetch again, or its {LOCK} if you mean it."


def read_lock(home: Path) -> dict[str, dict[str, Any]]:
    """By file: sha256, bytes, modified (ns), source, and `of`, the checksum of what it was converted from."""
    path, mend = home / LOCK, "delete it to pin the files beside it anew"
    lock = read_json(path, mend) if path.exists() else {}
    for name, entry in lock.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            raise UserError(f"The file {path} does not say what {name} is: {mend}.")
    return lock


def pin(home: Path, name: str, digest: str, source: str, of: str | None = None) -> None:
    """Record a file as it is now. The lock is replaced whole."""
    file = home / name
    facts = file.stat()
    entry = {"sha256": digest, "bytes": facts.st_size, "modified": facts.st_mtime_ns, "source": source}
    lock = {**read_lock(home), name: {**entry, **({"of": of} if of else {})}}
    new = home / f"{LOCK}.new"
    new.write_text(json.dumps(lock, indent=2, sort_keys=True) + "\n", "utf-8")
    new.replace(home / LOCK)


def refuse_wrong_variant(prior: str, phi: str | None) -> None:
    """2.1 in place of 2.1-base changes results decisively, and so does the reverse. Both tell from their
    configurations: 2.1-base has latents of 64 and predicts eps, 2.1 has 96 and predicts v.

    Raises UserError with the reason. Folders that cannot be read are for the loader to judge."""
    if reason := unlike_base(prior):
        raise UserError(
            f"The prior in {prior} {reason}: it is Stable Diffusion 2.1, the paper's is 2.1-base; "
            "give that one as --prior, and this one as --phi."
        )
    refuse_wrong_phi(phi)


def refuse_wrong_phi(phi: str | None) -> None:
    """Raise UserError where the student would start as no Stable Diffusion 2.1."""
    if phi and _predicts(phi) == "epsilon":
        raise UserError(
            f"The folder {phi} predicts eps: it is no Stable Diffusion 2.1, which --phi takes; "
            "leave --phi out to start the student as the prior."
        )


def unlike_base(prior: str) -> str:
    """In what a folder is not Stable Diffusion 2.1-base by its configurations; "" where in nothing."""
    if _predicts(prior) == "v_prediction":
        return "predicts v"
    return "has latents of 96 where 2.1-base has 64" if _field(prior, "unet/config.json", "sample_size") == 96 else ""


def unlike_vae(prior: str) -> str:
    """In what a folder's autoencoder is unlike Stable Diffusion's by its configuration; "" where in nothing."""
    levels = _field(prior, "vae/config.json", "block_out_channels")
    factor = 2 ** (len(levels) - 1) if isinstance(levels, list) else FACTOR
    return "" if factor == FACTOR else f"has {factor} x {factor} pixels a latent where 2.1-base has {FACTOR} x {FACTOR}"


def _predicts(name: str) -> str | None:
    return _field(name, "scheduler/scheduler_config.json", "prediction_type")


def _field(name: str, config: str, key: str) -> Any:
    try:
        return json.loads(read_text(Path(name) / config)).get(key)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
