"""`run_benchmark.py ablate`: the paper's ablations."""

from __future__ import annotations

from pathlib import Path

from commands.options import CLIP, DEVICE, JOBS, OUT, OVERWRITE, PHI, PRIOR, Parser, positive, seed
from engine.remote.mirror import place_of
from engine.request import RUNS, SIZES, Request
from names import ABLATIONS, known
from say import Console, say
from suites import SUITES, suite_named


def parser() -> Parser:
    table = "\n".join(f"  {name:16}{line}" for name, line in ABLATIONS.items())
    about = f"The paper's ablations, each a CSV and a figure:\n\n{table}"
    made = Parser("ablate", about, "The same command again finishes only what is missing.")
    made.add_argument("name", metavar="NAME")
    made.add_argument("--prompts", nargs="+", metavar="TEXT", help="all, texts or ids; default: one to three")
    made.add_argument("--seeds", type=seed, nargs="+", metavar="N", help="default: 0; of diversity, 0 to 7")
    made.add_argument("--suite", default="world", metavar="NAME", help=f"{' or '.join(SUITES)}; default: world")
    made.add_argument(
        "--steps", type=positive, metavar="N", help="instead of the recipes'; in the world 300, a picture 100"
    )
    made.add_argument("--views", type=positive, metavar="N", help="to score a volume from; default: 50")
    made.add_argument("--prior", metavar="PATH", help=PRIOR)
    made.add_argument("--phi", metavar="PATH", help=PHI)
    made.add_argument("--clip", metavar="PATH", help=CLIP)
    made.add_argument(
        "--rehearse",
        action="store_true",
        help="in small: {steps} steps, {resolution} x {resolution}, {views} views".format(**SIZES),
    )
    made.add_argument("--device", default="auto", metavar="NAME", help=DEVICE)
    made.add_argument("--jobs", default="auto", metavar="N", help=JOBS)
    made.add_argument("--out", type=place_of, metavar="DIR", help=f"{OUT}; default: results/runs/ablate-NAME")
    made.add_argument("--overwrite", action="store_true", help=OVERWRITE)
    return made


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    name, suite = known("ablation", options.name, ABLATIONS), suite_named(options.suite)
    small = SIZES if options.rehearse else {}
    parts = ["ablate", name, *([suite.name] if suite.name != "world" else [])]
    parts += [f"{key}{value}" for key in ("steps", "views") if (value := getattr(options, key))]
    parts += [Path(options.prior).name.replace(":", "-")] if options.prior else []
    parts += ["rehearse"] if options.rehearse else []
    request = Request(
        suite,
        suite.track,
        suite.select(options.prompts or ()),
        options.out or RUNS / "-".join(parts),
        seeds=tuple(dict.fromkeys(options.seeds or ())),
        steps=options.steps or small.get("steps"),
        resolution=small.get("resolution"),
        views=options.views or small.get("views"),
        prior=options.prior,
        phi=options.phi,
        clip=options.clip,
        device=options.device,
        jobs=options.jobs,
        overwrite=options.overwrite,
    )
    from engine.remote.sharing import shared

    console = Console()
    return shared(request.out, console, lambda: carried_out(name, request, console))


def carried_out(name: str, request: Request, console: Console) -> int:
    """The exit code of an ablation, its table and its figure."""
    from engine.scoring import judges
    from engine.studies import ablate
    from reports import ablations

    chosen = judges.required(judges.judges_of(request.suite, request.clip))
    assert chosen.clip is not None
    labels, whole = ablate.run(name, request, chosen, console)
    files, table = ablations.write(name, request.out, labels, chosen.clip)
    ablations.show(table, console)
    for file in files:
        say(console, file)
    return int(not whole)
