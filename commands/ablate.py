"""`run_benchmark.py ablate`: the paper's ablations."""

from __future__ import annotations

from pathlib import Path

from commands.options import DEVICE, JOBS, OVERWRITE, Parser, positive, seed
from engine.request import RUNS, Request
from names import ABLATIONS, known
from say import Console, say
from suites.world import WORLD


def parser() -> Parser:
    table = "\n".join(f"  {name:16}{line}" for name, line in ABLATIONS.items())
    about = f"The paper's ablations in the known world, each a CSV and a figure:\n\n{table}"
    made = Parser("ablate", about, "The same command again finishes only what is missing.")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--prompts", nargs="+", metavar="TEXT", help="all, texts or ids; default: one to three")
    made.add_argument("--seeds", type=seed, nargs="+", metavar="N", help="default: 0; of diversity, 0 to 7")
    made.add_argument("--steps", type=positive, metavar="N", help="instead of 300, or 100 of a picture")
    made.add_argument("--views", type=positive, metavar="N", help="to score a volume from; default: 50")
    made.add_argument("--prior", metavar="PATH", help="a Stable Diffusion folder or exact; default: the world's")
    made.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    made.add_argument("--jobs", default="auto", metavar="N", help=JOBS)
    made.add_argument("--out", metavar="DIR", help="default: results/runs/ablate-NAME")
    made.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    name = known("ablation", options.name, ABLATIONS)
    parts = ["ablate", name, *(f"{key}{value}" for key in ("steps", "views") if (value := getattr(options, key)))]
    parts += [Path(options.prior).name.replace(":", "-")] if options.prior else []
    request = Request(
        WORLD,
        WORLD.track,
        WORLD.select(options.prompts or ()),
        Path(options.out) if options.out else RUNS / "-".join(parts),
        seeds=tuple(dict.fromkeys(options.seeds or ())),
        steps=options.steps,
        views=options.views,
        prior=options.prior,
        device=options.device,
        jobs=options.jobs,
        overwrite=options.overwrite,
    )
    from engine import judges
    from engine.studies import ablate
    from reports import ablations

    console = Console()
    labels, whole = ablate.run(name, request, console)
    clip = judges.required(judges.judges_of(WORLD)).clip
    assert clip is not None
    files, table = ablations.write(name, request.out, labels, clip)
    ablations.show(table, console)
    for file in files:
        say(console, file)
    return int(not whole)
