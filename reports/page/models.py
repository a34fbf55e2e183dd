"""Meshes on a page: what `export` made of a job, so that a browser can show it from the disk, too.

A page that was opened from the disk may not read files, but may run scripts: beside meshes/X.glb, to be kept, lies
meshes/X.js, the same in a script, which is loaded when it is asked for. So is the viewer, vendor/model-viewer.js.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

from files import sha256, write_text

MESH = "mesh.glb"  # in a job's folder
VIEWER = "model-viewer.js"
VENDOR = Path(__file__).parent / "vendor"


def of_job(job: Path, out: Path) -> str | None:
    """A job's mesh in the page OUT, by its name there; None where it has none."""
    file = job / MESH
    if not file.is_file():
        return None
    name = sha256(file)[:20]
    kept, script = out / "meshes" / f"{name}.glb", out / "meshes" / f"{name}.js"
    if not script.exists():
        shutil.copyfile(file, kept)
        text = base64.b64encode(file.read_bytes()).decode()
        write_text(script, f'(window.meshes ??= {{}})["meshes/{name}.glb"] = "{text}";\n')
    return f"meshes/{kept.name}"


def put_viewer(out: Path) -> None:
    """What shows meshes, into a page that has some."""
    if not (out / VIEWER).exists():
        shutil.copyfile(VENDOR / VIEWER, out / VIEWER)
