"""From the pictures of a job to its scores.csv, a row a view and a column a metric, and scores.json, which says of each
column what it was measured with.

Only metrics whose stamp changed are computed again. A job that left no pictures (non-finite, out of memory) is scored
as its background, so that a table over all jobs can be made of the same files; tables over survivors leave it out.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

import files
import locks
from errors import UserError, first_line
from eval import JUDGES, SCORES, STAMPS, metrics, views
from eval.divergence import DIVERGED, classify
from eval.encoders import HALVED
from eval.metric import Metric, Seen, code_of
from eval.outside import OUTSIDE
from eval.truth import Truth
from eval.views import Depths
from prompts import Prompt, is_own
from records import NewerError
from scene.background import GREY
from scene.cameras import orbit

VIEWS = 50  # of a job whose record does not say
Stamp = dict[str, Any]


class Unwritable(UserError):
    """Scores for which there is no room, or no right to write them: what was there stays."""


class Scored(NamedTuple):
    """Folders that were scored now, and those that could not be, each with the reason in a sentence."""

    fresh: list[Path]
    bad: dict[Path, str]


@dataclass(frozen=True)
class Scores:
    """A job's scores: a value a view for each metric, with its stamp. `about` says for readers who judged."""

    columns: dict[str, list[float]]
    stamps: dict[str, Stamp]
    about: dict[str, str]


class Scorer:
    """Scores views. The suite's texts and CLIP-IQA's sentences are encoded once.

    `judges` by the need they serve (`eval.metric`): what is not there is left out, with its metrics; the same encoder
    may serve several. `prompts` are the candidates of R-Precision: all of the suite's. `asked`: needs that no model
    serves, "asked" and "directions". `has_front` takes a prompt's text to whether its object has a front, None where
    nobody knows.
    """

    def __init__(
        self,
        judges: Mapping[str, Any],
        prompts: Iterable[Prompt],
        truth: Truth | None = None,
        asked: Iterable[str] = (),
        has_front: Callable[[str], bool | None] | None = None,
    ):
        self.judges, self.prompts, self.truth = dict(judges), tuple(prompts), truth
        self.asked, self.has_front = frozenset(asked), has_front or (lambda text: None)
        self._texts = tuple(p.text for p in self.prompts)
        self._number = {p.id: n for n, p in enumerate(self.prompts)}
        self._read: dict[Any, Tensor] = {}

    def knowing(self, truth: Truth | None) -> Scorer:
        """The same, with other true views; what was read of texts is shared."""
        other = copy(self)
        other.truth = truth
        return other

    def asking(self, prompt: Prompt) -> Scorer:
        """The same, with a prompt of one's own beside the suite's: scores do not depend on what others are scored."""
        if prompt.id in self._number:
            return self
        other = Scorer(self.judges, (*self.prompts, prompt), self.truth, self.asked, self.has_front)
        other._read = self._read
        return other

    def cut(self, more: Iterable[Prompt] = ()) -> dict[str, list[str]]:
        """By the need they serve, judges that do not read some of the suite's prompts, or of `more`, to their end: the
        ids of these. What is cut off is not scored."""
        asked = dict.fromkeys((*self.prompts, *more))
        readers = {name: judge for name, judge in self.judges.items() if name != "iqa" and hasattr(judge, "cut")}
        found = {name: [p.id for p in asked if judge.cut(p.text)] for name, judge in readers.items()}
        return {name: ids for name, ids in found.items() if ids}

    @property
    def about(self) -> dict[str, str]:
        """The judges' checksums, and the numbers of the candidates."""
        own = {name: judge for name, judge in self.judges.items() if name not in OUTSIDE}  # others: their stamps say it
        judged = {JUDGES.get(name, name): judge.checksum[:16] for name, judge in own.items()}
        return judged | {"candidates": " ".join(p.number for p in self.prompts)}

    def stamps(self, prompt_id: str, pictures: str, opacity: bool, depth: str = "") -> dict[str, Stamp]:
        """The stamp of each metric that can be measured: all that its numbers depend on. `pictures` is a checksum, or
        says what stands for them; so is `depth`, "" where there is none. Raises UserError for a prompt that is not the
        suite's."""
        text = self._texts[self.number(prompt_id)]
        facts = {name: _judge(judge) for name, judge in self.judges.items()} | dict.fromkeys(self.asked, "yes")
        facts["candidates"] = sha256("\n".join(self._texts).encode()).hexdigest()[:16]
        if opacity:
            facts["opacity"] = "known"
        if depth:
            facts["depth"] = depth
        if (front := self.has_front(text)) is not None:
            facts["front"] = "yes" if front else "no"
        if self.truth:
            facts["truth"] = self.truth.fingerprint(text)
            facts |= {"variants": str(self.truth.variants)} if self.truth.variants > 1 else {}
            facts |= {"shape": "known"} if self.truth.shape else {}
        return {
            m.key: {"version": m.version, "code": m.code, "prompt": text, "pictures": pictures}
            | {fact: facts[fact] for fact in (*m.needs, *m.regards) if fact in facts}
            for m in metrics.METRICS
            if facts.keys() >= set(m.needs)
        }

    def __call__(
        self, pictures: views.Pictures, prompt_id: str, wanted: Iterable[Metric]
    ) -> dict[str, Float[Tensor, " V"]]:
        """The columns of metrics. Raises UserError for a prompt that is not the suite's."""
        number = self.number(prompt_id)
        front = self.has_front(self._texts[number])
        seen = Seen(pictures, self._texts, number, self.judges, self.truth, self._read, front)
        return {metric.key: metric.function(seen) for metric in wanted}

    def number(self, prompt_id: str) -> int:
        """The prompt's place in the suite."""
        if prompt_id not in self._number:
            raise UserError(
                f"There is no prompt {prompt_id!r} in the suite scored: give the suite that the run was made with, or "
                "hand in what other programs made by run_benchmark.py evaluate."
            )
        return self._number[prompt_id]


def score_run(
    run: Path,
    scorer: Scorer,
    each: Callable[[Path, bool], None] | None = None,
    truth: Callable[[Path], Truth | None] | None = None,
    depths: Callable[[Path], Depths | None] = lambda folder: None,
) -> Scored:
    """Score every job of a run as far as it has not been scored so. One that cannot be scored loses what scores it had,
    and the others go on.

    `each` is told of every folder and whether it was scored now. `truth` gives each folder's true views, in place of
    the scorer's, which are of all; `depths` gives those of its own. Raises UserError where no job can be scored, and
    Unwritable at the first whose scores cannot be written."""
    folders, fresh, bad = views.jobs(run), [], {}
    for folder in _held_by_turns(folders):  # its views stay as they are meanwhile
        new, why = score_if_can(folder, scorer, truth, depths)
        if why:
            bad[folder] = why
            continue
        fresh += [folder] if new else []
        if each:
            each(folder, new)
    return gathered(run, folders, fresh, bad)


def score_if_can(
    folder: Path,
    scorer: Scorer,
    truth: Callable[[Path], Truth | None] | None,
    depths: Callable[[Path], Depths | None],
) -> tuple[bool, str]:
    """Score a job as far as it has not been scored so: whether it was now, and why it cannot be, which loses it what
    scores it had. Raises Unwritable, and NewerError for what a later version wrote."""
    try:
        return score_job(folder, scorer.knowing(truth(folder)) if truth else scorer, depths(folder)), ""
    except (NewerError, Unwritable):
        raise
    except UserError as error:
        _forget(folder)
        return False, str(error)


def gathered(run: Path, folders: list[Path], fresh: list[Path], bad: dict[Path, str]) -> Scored:
    """What became of all jobs of a run. Raises UserError where none could be scored."""
    if len(bad) == len(folders):
        raise UserError(bad[folders[0]])
    stray = "The views in {} are not scored: expected <method>/<prompt-id>/<seed>/rgb_000.png."
    return Scored(fresh, bad | {folder: stray.format(folder) for folder in views.strays(run)})


def _held_by_turns(folders: list[Path]) -> Iterator[Path]:
    """The folders, each held against other commands while it is looked at: those that another has come last, so that
    several commands share the work."""
    later: list[Path] = []
    for turn, wait in ((folders, False), (later, True)):
        for folder in turn:
            with locks.held(folder, wait) as ours:
                if ours:
                    yield folder
                else:
                    later.append(folder)


class Due(NamedTuple):
    """Of a job: who scores it, the `stale` metrics among all that can be measured, by their stamps, what was there
    `before`, and, of one that left no pictures, its `blank` ones."""

    scorer: Scorer
    stale: list[Metric]
    stamps: dict[str, Stamp]
    before: Scores
    blank: views.Pictures | None
    depths: Depths | None


def score_job(folder: Path, scorer: Scorer, depths: Depths | None = None) -> bool:
    """Write those of the job's scores that are not there with the same stamp; returns whether any were written.

    A failed job has no scores. A prompt of one's own is read from the job's settings. Raises UserError for damaged
    views, a damaged record, and a prompt that is neither that nor the suite's."""
    if (due := due_of(folder, scorer, depths)) is None:
        return False
    new = {}
    if due.stale:
        seen = due.blank or views.read(folder)._replace(depths=due.depths)
        new = due.scorer(seen, folder.parent.name, due.stale)
    columns = {key: new[key].tolist() if key in new else due.before.columns[key] for key in due.stamps}
    write(folder, Scores(columns, due.stamps, due.scorer.about))
    return True


def due_of(folder: Path, scorer: Scorer, depths: Depths | None = None) -> Due | None:
    """What `score_job` has to do; None where that is nothing. Raises UserError as it does."""
    record, config = (views.job_json(folder / name) for name in ("record.json", "config.json"))
    orbit, prompt_id = config.get("recipe", {}).get("orbit", {}), folder.parent.name
    blank = None
    if classify(record, None) == "failed":
        return None
    if is_own(prompt_id) and config.get("prompt"):
        scorer = scorer.asking(Prompt(prompt_id, config["prompt"]))
    if not views.has_pictures(folder) and classify(record, None) in DIVERGED:
        blank = _blank(orbit.get("views", VIEWS), orbit.get("resolution", 64))
    elif not views.has_pictures(folder) and record:
        raise UserError(f"The views of {folder} are missing: {views.mend(folder)}.")
    pictures = views.checksum(folder) if blank is None else f"none, {' x '.join(map(str, blank.rgb.shape))}"
    depths = blank.depths if blank else depths
    depth = depths.fingerprint if depths else ""
    stamps = scorer.stamps(prompt_id, pictures, blank is not None or views.knows_opacity(folder), depth)
    before = scores_of(folder)
    stamps |= kept(before, stamps, pictures)
    stale = [m for m in metrics.METRICS if m.key in stamps and before.stamps.get(m.key) != stamps[m.key]]
    if not stale and before.stamps.keys() == stamps.keys() and before.about == scorer.about:
        return None
    return Due(scorer, stale, stamps, before, blank, depths)


def kept(before: Scores, stamps: dict[str, Stamp], pictures: str) -> dict[str, Stamp]:
    """The stamps of columns that judges of other environments left, who were not asked for now: they hold for the same
    pictures and the same prompt."""
    prompts = {stamp["prompt"] for stamp in stamps.values()}
    return {
        metric.key: stamp
        for metric in metrics.METRICS
        if OUTSIDE.keys() & set(metric.needs)
        if metric.key not in stamps and (stamp := before.stamps.get(metric.key))
        if stamp["pictures"] == pictures and prompts == {stamp["prompt"]}
    }


def write(folder: Path, scores: Scores) -> None:
    """scores.csv and scores.json of a job. A kill between the two leaves stamps that are not the scores' own, and does
    no harm: they hold for the file of their checksum alone."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["view", "azimuth", *scores.columns])
    n = len(next(iter(scores.columns.values())))
    for v in range(n):
        table.writerow([v, _number(360 * v / n), *(_number(column[v]) for column in scores.columns.values())])
    try:
        path = files.write_text(folder / SCORES, stream.getvalue())
        told = {"about": scores.about, "stamps": scores.stamps, "scores": files.sha256(path)[:16]}
        files.write_json(folder / STAMPS, told)
    except OSError as error:
        raise Unwritable(f"The scores of {folder} cannot be written: {first_line(error)}.") from error


def scores_of(folder: Path) -> Scores:
    """A job's scores as far as their stamps can be trusted; nothing where a file is missing, damaged or edited."""
    try:
        told = files.read_json(folder / STAMPS)
        with (folder / SCORES).open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        if told["scores"] != files.sha256(folder / SCORES)[:16]:
            return Scores({}, {}, {})
        columns = {key: [float(row[key] or "nan") for row in rows] for key in told["stamps"]}
        return Scores(columns, told["stamps"], told["about"])
    except (UserError, OSError, ValueError, KeyError, TypeError):
        return Scores({}, {}, {})


def _forget(folder: Path) -> None:
    """Scores that are of other pictures than those there, or nobody knows of what."""
    with contextlib.suppress(OSError):  # a folder that cannot be written to keeps what it has
        for name in (SCORES, STAMPS):
            (folder / name).unlink(missing_ok=True)


def _judge(judge: Any) -> str:
    """What a judge's numbers depend on: its weights, its code, and whether it computes in half precision."""
    device = torch.device(getattr(judge, "device", None) or judge.model.device)
    return f"{judge.checksum[:16]} {code_of(type(judge))}" + (" half" if device.type in HALVED else "")


def _blank(n: int, size: int) -> views.Pictures:
    """n views of nothing, for a job that left none."""
    nothing = torch.zeros(n, 1, size, size)
    air = Depths("none", orbit(n), lambda side: torch.full((n, 1, side, side), torch.inf))
    return views.Pictures(torch.full((n, 3, size, size), GREY), nothing, air)


def _number(value: float) -> str:
    """Seven significant digits; empty for NaN, as pandas reads it."""
    return "" if math.isnan(value) else f"{value:.7g}"
