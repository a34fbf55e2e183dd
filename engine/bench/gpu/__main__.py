"""See whether this benchmark holds on a GPU, and what it costs there; or train the world's U-Net on it.

    python -m engine.bench.gpu check OUT              kernels, graphs, every rule of Table 1 at full size
    python -m engine.bench.gpu train OUT              pictures, latents, then the U-Net for what is left of the minutes
    python -m engine.bench.gpu check OUT --rehearse   the same path in small, on any machine; train likewise

OUT gets rows.jsonl, a row as soon as it is measured, and page.md. What is there already is not measured again: after a
cut-off the same command goes on. What does not fit into --minutes any more is skipped, and the page says so.

torch, diffusers and transformers are needed, with what they bring; a row that needs more is skipped where it is absent.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

from errors import UserError, exit_code

MINUTES = 8.0
WANTED, ON_CPU = ("peft", "accelerate", "psutil"), ("numba", "llvmlite")  # what rows need, and what that needs
BARE = Path(__file__).with_name("bare")

if find_spec("jaxtyping") is None:  # here, so that processes which are started find it, too
    sys.path.append(str(BARE))


def main(arguments: list[str]) -> int:
    """Raises UserError for missing packages, a device that is not here, and a folder that cannot be written to."""
    began = time.monotonic()  # imports are within the minutes
    parser = argparse.ArgumentParser("python -m engine.bench.gpu", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("mode", choices=["check", "train"])
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder for what is found")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="N", help="default: %(default)g")
    parser.add_argument("--device", default="cuda", metavar="NAME", help="default: cuda")
    parser.add_argument("--rehearse", action="store_true", help="in small, on the CPU")
    options = parser.parse_args(arguments)
    if not options.minutes > 0:
        raise UserError("--minutes takes a number above 0.")
    wanted = (*WANTED, *ON_CPU) if options.rehearse else WANTED
    if absent := [name for name in wanted if find_spec(name) is None]:
        print(f"Rows are skipped that need {', '.join(absent)}; {how_to_bring(absent)}")
    try:
        from engine.bench.gpu import check, train
        from engine.bench.gpu.page import Page
        from engine.executors.starting import environment
        from engine.machine import device_of
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        raise UserError(f"Not installed here: {name}; {how_to_bring([name])}") from error
    device = "cpu" if options.rehearse else device_of(options.device)
    if device == "cpu" and not options.rehearse:
        raise UserError("At full size this needs a GPU: give --rehearse to take the same path in small.")
    with environment(threads=1):  # as jobs have it
        page = Page(options.out, options.minutes - (time.monotonic() - began) / 60)
        if options.mode == "train":
            train.run(page, device, train.SMALL if options.rehearse else train.FULL)
        else:
            check.run(page, device, check.SMALL if options.rehearse else check.FULL)
    return 0


def how_to_bring(names: list[str]) -> str:
    """Packages that are not installed, to a machine without a network."""
    version, platform = sysconfig.get_python_version(), f"manylinux_2_28_{sysconfig.get_platform().split('-')[-1]}"
    return (
        f"where there is a network, pip download --no-deps --only-binary=:all: --python-version {version} "
        f"--platform {platform} --platform {platform.replace('2_28', '2_17')} -d wheels {' '.join(names)}, "
        "and here pip install --no-index --no-deps wheels/*."
    )


if __name__ == "__main__":
    sys.exit(exit_code("engine.bench.gpu", lambda: main(sys.argv[1:])))
