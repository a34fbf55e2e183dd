"""See whether this benchmark holds on a GPU, and what it costs there; or train the world's U-Net on it.

    python -m engine.bench.gpu check OUT              kernels, graphs, every rule of Table 1 at full size
    python -m engine.bench.gpu check OUT --rehearse   the same path in small, on any machine
    python -m engine.bench.gpu train OUT              pictures, latents, then the U-Net for what is left of the minutes

OUT gets rows.jsonl, a row as soon as it is measured, and page.md. What is there already is not measured again: after a
cut-off the same command goes on. What does not fit into --minutes any more is skipped, and the page says so.
"""

from __future__ import annotations

import argparse
import re
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

from errors import UserError, exit_code
from files import ROOT

MODULES = {"pillow": "PIL", "pyyaml": "yaml"}  # of packages whose module has another name
MINUTES = 8.0


def main(arguments: list[str]) -> int:
    """Raises UserError for missing packages, a device that is not here, and a folder that cannot be written to."""
    parser = argparse.ArgumentParser("python -m engine.bench.gpu", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.description = __doc__
    parser.add_argument("mode", choices=["check", "train"])
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder for what is found")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="N", help="default: %(default)g")
    parser.add_argument("--device", default="cuda", metavar="NAME", help="default: cuda")
    parser.add_argument("--rehearse", action="store_true", help="in small, on the CPU (check alone)")
    options = parser.parse_args(arguments)
    refuse_missing(missing())
    if not options.minutes > 0:
        raise UserError("--minutes takes a number above 0.")
    if options.rehearse and options.mode == "train":
        raise UserError("A training is not rehearsed: give --rehearse to check.")
    from engine.bench.gpu import check, train
    from engine.bench.gpu.page import Page
    from engine.executors.starting import environment
    from engine.machine import device_of

    device = "cpu" if options.rehearse else device_of(options.device)
    if device == "cpu" and not options.rehearse:
        raise UserError("At full size this needs a GPU: give --rehearse to take the same path in small.")
    with environment(threads=1):  # as jobs have it
        page = Page(options.out, options.minutes)
        if options.mode == "train":
            train.run(page, device)
        else:
            check.run(page, device, check.SMALL if options.rehearse else check.FULL)
    return 0


def missing() -> list[str]:
    """The project's own dependencies that are not installed, as pyproject.toml names them."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    listed = text[text.index("\ndependencies = [") : text.index("[project.optional-dependencies]")]
    names = re.findall(r'^\s+"([\w-]+)[^";]*"', listed, flags=re.MULTILINE)  # without a marker: Python has the others
    return [name for name in names if find_spec(MODULES.get(name, name.replace("-", "_"))) is None]


def refuse_missing(names: list[str]) -> None:
    """Raises UserError where there are any."""
    if names:
        version, platform = sysconfig.get_python_version(), f"manylinux_2_28_{sysconfig.get_platform().split('-')[-1]}"
        raise UserError(
            f"Not installed here: {', '.join(names)}; where there is a network, pip download --no-deps "
            f"--only-binary=:all: --python-version {version} --platform {platform} -d wheels {' '.join(names)}, "
            "and here pip install --no-index --no-deps wheels/*."
        )


if __name__ == "__main__":
    sys.exit(exit_code("engine.bench.gpu", lambda: main(sys.argv[1:])))
