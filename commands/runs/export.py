"""`run_benchmark.py export`: a run's scenes for other programs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.options import DEVICE, Parser, add_executor, add_run, folder, positive, where_of
from commands.shared.chosen import add_choice, scenes_of
from engine.executors import Where
from engine.remote.mirror import mirror_of, name_of, needed
from engine.remote.sharing import shared
from errors import UserError, first_line
from names import known
from say import Console, say

if TYPE_CHECKING:
    from engine.exports.write import Task, Wanted

RESOLUTION, FACES, SIZE = 128, 20_000, 256
FORMATS = ("glb", "mp4", "normals")

DESCRIPTION = """Write a run's scenes for other programs: meshes as GLB, turntables as MP4, pictures of normals.

They lie in the jobs' folders, where `report` finds them: mesh.glb, turntable.mp4, views/normal_000.png; with --out, in
folders of the same names there. What is there of the same scene and settings is kept. A mesh is the surface of what is
solid from nearly all around, with the colours that are seen there, y up and looking along +z as glTF has it; a scene
in which nothing is solid has none, which is said."""

EPILOG = """examples
  run_benchmark.py export results/runs/world-controlled
  run_benchmark.py export RUN --methods sdi --prompts strawberry --formats glb --faces 100000 --resolution 256
  run_benchmark.py export RUN --formats glb --out meshes
  run_benchmark.py evaluate meshes --suite world --as-it-is     their scores, as any mesh's"""


def parser() -> Parser:
    made = Parser("export", DESCRIPTION, EPILOG)
    add_run(made)
    add_choice(made)
    add = made.add_argument
    add("--formats", nargs="+", default=list(FORMATS), metavar="NAME", help=f"default: {' '.join(FORMATS)}")
    add("--out", type=folder, metavar="DIR", help="default: the jobs' own folders")
    add("--resolution", type=positive, default=RESOLUTION, metavar="N",
        help=f"cells of the grid along a scene's longest edge; default: {RESOLUTION}")  # fmt: skip
    add("--faces", type=positive, default=FACES, metavar="N", help=f"of a mesh, at most; default: {FACES}")
    add("--size", type=positive, default=SIZE, metavar="N",
        help=f"pixels along an edge of a turntable; default: {SIZE}")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help=DEVICE)
    add_executor(made)
    add("--overwrite", action="store_true", help="replace what was made with other settings, or by others")
    return made


def main(arguments: list[str]) -> int:
    options, console = parser().parse_args(arguments), Console()
    for name in options.formats:
        known("format", name, FORMATS)
    if options.resolution < 8:
        raise UserError(f"--resolution {options.resolution} is too coarse for a surface: give 8 or more.")
    where = where_of(options)
    if options.out and not where.is_here and mirror_of(options.run):
        raise UserError(f"Nodes put what they make beside the jobs of {name_of(options.run)}: leave out --out.")
    needed(options.run)
    return shared(options.run, console, lambda: exported(options, where, console))


def exported(options: Namespace, where: Where, console: Console) -> None:
    """Make what is missing of what is asked for. Raises UserError where it cannot be made."""
    from engine.exports import write

    write.refuse_missing(options.formats)
    scenes, others = scenes_of(options.run, options.methods, options.prompts, options.seeds)
    formats = tuple(name for name in FORMATS if name in options.formats)
    wanted = write.Wanted(formats, options.resolution, options.faces, options.size, options.out)
    tasks = [write.task_of(job, wanted) for job in scenes]
    refuse(tasks, options)
    if others:
        say(console, f"{others} jobs ended without a scene, and are passed over.")
    try:
        todo = [task for task in tasks if task.todo]
        made = carried_out(todo, wanted, where, options.run, console)
    except OSError as error:
        place = options.out or options.run
        raise UserError(
            f"{place} cannot be written ({first_line(error)}): make room, or give another --out."
        ) from error
    kept = ", the others were there" if len(todo) < len(tasks) else ""
    say(console, f"{made} of {len(tasks)} scenes were exported{kept}: in {options.out or name_of(options.run)}")


def refuse(tasks: list[Task], options: Namespace) -> None:
    """Raise UserError where files would be replaced that are not the same again."""
    there = [(task, form) for task in tasks for form in task.others]
    if there and not options.overwrite:
        task, form = there[0]
        raise UserError(
            f"{len(there)} exports were made with other settings or of other scenes, such as {form} of "
            f"{'/'.join(task.job.parts[-3:])}: give --overwrite to replace them, or --out another folder."
        )


def carried_out(tasks: list[Task], wanted: Wanted, where: Where, run: Path, console: Console) -> int:
    """Make what is missing, of many scenes at once; returns of how many something was made."""
    from engine.executors.units import Lack, Unit, done
    from engine.exports import write

    by_path = {task.job.relative_to(run): task for task in tasks}
    units = [Unit(path, (task.todo, wanted)) for path, task in by_path.items()]
    if wanted.out and units:
        wanted.out.mkdir(parents=True, exist_ok=True)
    made = 0
    for unit, lacks in done(run, units, write.unit, where, console, "Exporting"):
        for why in [lacks.why] if isinstance(lacks, Lack) else lacks:
            say(console, f"{unit.path.as_posix()}: {why}.", "yellow")
        made += not isinstance(lacks, Lack) and len(lacks) < len(by_path[unit.path].todo)
    return made
