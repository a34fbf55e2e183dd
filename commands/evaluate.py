"""`run_benchmark.py evaluate`: score what other programs made."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.options import Parser, add_judges, folder, positive
from engine.executors import Where
from engine.request import RUNS, VIEWS
from errors import UserError, first_line
from prompts import Prompt, listed, slug
from say import Console, say
from suites import SUITES, suite_named
from suites.base import Suite

if TYPE_CHECKING:
    from intake.base import Asked, Found, Refused, Unit

DESCRIPTION = """Score what other programs made: renders, turntables, meshes, in whatever layout they lie.

Nothing is written to PATH. Its objects become jobs of a run in --out, with this benchmark's tables and figures; they
are open results, not to be compared with published ones. What is missing or damaged is named, and counts as failed."""

EPILOG = """layouts, each recognised by itself
  <method>/<prompt>/<seed>/rgb_000.png                 this benchmark's; the seed may be left out
  <method>/<prompt's index>/<seed>/rgb_0.png           GPTEval3D's, with its prompts.json, or --prompts
  <method>_<group>/<prompt>@<time>/save/it*-export     T3Bench's
  <name>/<tag>@<time>/save/it*-test/0.png              threestudio's outputs: of each prompt the newest finished run
  <prompt>/000.png, or <prompt>_000.png                numbered views; folders may be numbers that count --prompts
  <prompt>.mp4, .gif, .webm, .mov                      turntables: one turn, as many frames of it as the suite has views
  <prompt>.glb, .obj, .ply                             meshes, rendered here without a display
  an archive (.zip, .tar, .tar.gz) of any of these

  Views are PNG, JPEG or WebP, one turn counter-clockwise from the front, of any number. Transparent ones, or masks
  beside them (opacity_000.png), give their opacity. A prompt's folder is its text, its id, or its start.

meshes
  are seen unlit from the suite's own 50 views. Each is moved and scaled so that the ball around the middle of its box
  that holds it fills 72 % of the field of view; --as-it-is leaves it where it stands. GLB is taken for y up, front +z;
  OBJ and PLY for z up, front +x, as threestudio exports them: --up says otherwise.

exit codes
  0 all is scored; 1 some objects cannot be, as is said, and the tables are of the others; 2 nothing can be

examples
  run_benchmark.py evaluate ~/threestudio/outputs
  run_benchmark.py evaluate renders --prompts prompts.txt --name my-method
  run_benchmark.py evaluate a.zip meshes/ --suite world --out results/runs/compared"""


def parser() -> Parser:
    made = Parser("evaluate", DESCRIPTION, EPILOG)
    add = made.add_argument
    add("paths", metavar="PATH", type=Path, nargs="+", help="folders, archives, videos or meshes")
    add(
        "--suite",
        default="paper",
        metavar="NAME",
        help=f"whose judges and prompts: {' or '.join(SUITES)}; default: paper",
    )
    add("--prompts", nargs="+", metavar="TEXT",
        help="what was asked for: a FILE (.txt, .json, .csv), a list, texts, or all; default: the suite's")  # fmt: skip
    add("--name", metavar="METHOD", help="of the method; default: as folders say")
    add("--out", type=folder, metavar="DIR", help="default: results/runs/evaluate-SUITE-PATH")
    add("--views", type=positive, metavar="N", help=f"of a mesh, and at most of a video; default: {VIEWS}")
    add("--resolution", type=positive, metavar="N", help="of views of meshes; default: the suite's")
    add("--up", choices=("y", "z"), help="a mesh's axis; default: as its format has it")
    add("--as-it-is", action="store_true", help="leave meshes where they stand and as large as they are")
    add_judges(made)
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    suite = suite_named(options.suite)
    prompts = listed(suite.prompts, options.prompts or ["all"], f"the {suite.name} suite")
    refuse(options)
    from commands.shared import results
    from engine.scoring import judges
    from intake import unread

    chosen = judges.required(judges.judges_of(suite, options.clip, options.clip2))
    run = options.out or RUNS / f"evaluate-{suite.name}-{slug(options.paths[0].resolve().name) or 'renders'}"
    apart(run, options.paths)
    with ExitStack() as stack:
        seen = asked(options, suite, prompts)
        found = found_in(options, seen, run, stack)
        report(found, run, console)
        for line in unread.prompts_without(found, seen):
            say(console, line, "yellow")
        for line in judges.warnings(suite, chosen, {unit.place.prompt for unit in found.units}):
            say(console, line, "yellow")
        bad = taken(found, run, suite.name, console)
    whole = results.score_and_report(run, suite, chosen, Where(device=options.device), console)
    return int(bool(bad) or not whole)


def refuse(options: Namespace) -> None:
    """Raise UserError for words that cannot be meant."""
    if missing := [path for path in options.paths if not path.exists()]:
        raise UserError(f"There is nothing at {missing[0]}: name a folder, an archive, a video or a mesh.")
    if options.name is not None and (Path(options.name).name != options.name or options.name.startswith(".")):
        raise UserError(f"{options.name!r} cannot be a method's name: it is the name of a folder, such as my-method.")


def apart(run: Path, paths: list[Path]) -> None:
    """Raise UserError where a run would lie in what is handed in, which is never written to, or the other way round."""
    for path in paths:
        one, other = run.resolve(), path.resolve()
        if one == other or (path.is_dir() and other in one.parents) or one in other.parents:
            raise UserError(f"{run} and {path} lie in each other: give an --out elsewhere, nothing is written to PATH.")


def asked(options: Namespace, suite: Suite, prompts: tuple[Prompt, ...]) -> Asked:
    """How paths are read; meshes are seen as the suite's own scenes are."""
    from engine.recipes.tables import recipe
    from intake.base import Asked
    from intake.names import Names

    orbit = recipe(suite.name, suite.track, "sdi").orbit
    orbit = replace(orbit, views=options.views or orbit.views, resolution=options.resolution or orbit.resolution)
    names = Names(prompts, given=bool(options.prompts))
    return Asked(
        names, orbit.cameras(), asdict(orbit), orbit.resolution, options.name, not options.as_it_is, options.up or ""
    )


def found_in(options: Namespace, asked: Asked, run: Path, stack: ExitStack) -> Found:
    """What the paths hold. Archives are unpacked beside the run's jobs for as long as the stack lasts."""
    import intake
    from intake import archive
    from intake.base import Found, Refused

    found = Found([], [], [])
    for path in options.paths:
        at, left_out = path, []
        if archive.is_archive(path):
            run.mkdir(parents=True, exist_ok=True)
            stack.callback(gone_if_empty, run)
            at = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".unpacked-", dir=run)))
            left_out = archive.unpacked(path, at)
        found.refused.extend(left_out)
        try:
            part = intake.look(at, asked, path)
        except UserError as error:
            if not left_out:
                raise
            part = Found([], [Refused(path.name, str(error).rstrip("."))], [])
        found.units.extend(part.units)
        found.refused.extend(part.refused)
        found.notes.extend(part.notes)
    return each_once(found)


def gone_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def each_once(found: Found) -> Found:
    """A place in the run has one object; a second one is refused."""
    from intake.base import Refused

    places: dict[Path, Unit] = {}
    twice: list[Refused] = []
    for unit in found.units:
        first = places.setdefault(unit.place.path, unit)
        if first is not unit:
            why = f"{first.where} is {unit.place.path}, too: rename one, or hand it in apart with --name"
            twice.append(Refused(unit.where, why))
    return found._replace(units=list(places.values()), refused=[*found.refused, *twice])


def report(found: Found, run: Path, console: Console) -> None:
    """Say what was recognised and what cannot be taken. Raises UserError where nothing is left."""
    for line in found.notes:
        say(console, line)
    counts = Counter(len(unit.source) for unit in found.units)
    said = ", ".join(f"{views} ({n})" for views, n in sorted(counts.items()))
    if said:
        say(console, f"Views of an object (objects): {said}; the first is taken for the front, all for one turn.")
    for refused in found.refused:
        say(console, f"Not taken: {refused.where}: {refused.why}.", "red")
    if not found.units:
        raise UserError("Nothing that was handed in can be scored: see above.")


def taken(found: Found, run: Path, suite: str, console: Console) -> list[Refused]:
    """Put what was found into the run; returns what could not be taken."""
    from rich.progress import track

    from intake import write
    from intake.base import Refused

    for unit in found.units:
        write.refuse_other(run / unit.place.path)
    run.mkdir(parents=True, exist_ok=True)
    write.swept(run)
    bad, new = list(found.refused), 0
    try:
        for unit in track(found.units, "reading", console=console, transient=True):
            try:
                new += write.take(unit, run, suite)
            except UserError as error:
                bad.append(Refused(unit.where, str(error), unit.place, unit.layout))
                say(console, f"Not taken: {unit.where}: {error}.", "red")
        there = {unit.place for unit in found.units} - {refused.place for refused in bad[len(found.refused) :]}
        for refused in bad:
            if refused.place not in there:
                write.leave_out(refused, run, suite)
    except OSError as error:
        why = f"{run} cannot be written ({first_line(error)})"
        raise UserError(f"{why}: make room, or give another --out.") from error
    say(console, f"{len(found.units)} objects, {new} of them new, in {run}")
    return bad
