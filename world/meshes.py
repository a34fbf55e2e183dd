"""True meshes of toys, and what can be done to them: the first should be found near each measure's ceiling, the others
below it where they were changed.

uv run --with scikit-image --with fast-simplification python -m world.meshes OUT [--only PROMPT ...]
uv run run_benchmark.py evaluate OUT --suite world --as-it-is

A mesh is the toy's surface by marching cubes, with its true radiance at the vertices: OUT/<change>/<prompt>.ply.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from rich.progress import track

from prompts import slug
from world.objects import OBJECTS, Toy
from world.sdf import BOUND, distance
from world.trace import radiance

SHOWN = (
    "A ripe strawberry", "A blue tulip", "A delicious croissant", "A plush dragon toy", "A DSLR photo of Cthulhu",
)  # fmt: skip
CELLS = 128  # along an edge of the cube around a toy
FEW = 300  # faces that a decimated mesh has
CHUNK = 1 << 17  # points asked together
LIBRARIES = {"skimage": "scikit-image", "fast_simplification": "fast-simplification"}
Colours = Callable[[Float[ndarray, "N 3"]], Float[ndarray, "N 3"]]


@dataclass(frozen=True)
class Mesh:
    """Triangles, counter-clockwise seen from outside, z up, +x in front; colours in [0, 1]; `paint` gives those of
    other places on the toy."""

    vertices: Float[ndarray, "N 3"]
    faces: Int[ndarray, "F 3"]
    colours: Float[ndarray, "N 3"]
    paint: Colours


def true(toy: Toy, cells: int = CELLS) -> Mesh:
    """The toy's surface, from a grid of so many cells an edge."""
    from skimage.measure import marching_cubes

    parts, line = toy.parts(0), torch.linspace(-BOUND, BOUND, cells + 1)
    grid = torch.cartesian_prod(line, line, line)
    values = torch.cat([distance(parts, p) for p in grid.split(CHUNK)]).reshape(3 * (cells + 1,)).numpy()
    vertices, faces, _, _ = marching_cubes(values, 0.0, spacing=3 * (2 * BOUND / cells,))

    def paint(places: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
        return radiance(parts, torch.from_numpy(places.astype(np.float32))).numpy()

    vertices = vertices.astype(np.float32) - np.float32(BOUND)
    return Mesh(vertices, faces, paint(vertices), paint)


def mirrored(mesh: Mesh) -> Mesh:
    """Left and right changed."""
    return replace(mesh, vertices=mesh.vertices * np.array([1, -1, 1], np.float32), faces=mesh.faces[:, ::-1])


def decimated(mesh: Mesh, faces: int = FEW) -> Mesh:
    """Of few faces, by quadrics (Garland and Heckbert 1997)."""
    import fast_simplification

    vertices, left = fast_simplification.simplify(
        mesh.vertices, mesh.faces.astype(np.int32), target_reduction=1 - faces / len(mesh.faces)
    )
    return replace(mesh, vertices=vertices, faces=left, colours=mesh.paint(vertices))


def recoloured(mesh: Mesh) -> Mesh:
    """Red as green, green as blue, blue as red."""
    return replace(mesh, colours=np.roll(mesh.colours, 1, axis=1))


def stretched(*factors: float) -> Callable[[Mesh], Mesh]:
    """Along x, y and z."""
    return lambda mesh: replace(mesh, vertices=mesh.vertices * np.array(factors, np.float32))


CHANGES: dict[str, Callable[[Mesh], Mesh]] = {
    "true": lambda mesh: mesh,
    "mirrored": mirrored,
    "decimated": decimated,
    "recoloured": recoloured,
    "flat": stretched(1, 1, 0.7),
    "scaled": stretched(0.7, 0.7, 0.7),
}


def ply(mesh: Mesh) -> bytes:
    """A binary PLY with colours of 8 bits at the vertices."""
    corners = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    vertices, faces = np.empty(len(mesh.vertices), corners), np.empty(len(mesh.faces), "u1, (3,)<i4")
    vertices["place"], vertices["colour"] = mesh.vertices, (255 * mesh.colours).round()
    faces["f0"], faces["f1"] = 3, mesh.faces
    head = [
        "ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"), *(f"property uchar {c}" for c in ("red", "green", "blue")),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    return "\n".join(head).encode() + vertices.tobytes() + faces.tobytes()


def write(out: Path, toy: Toy, cells: int = CELLS) -> None:
    """All of CHANGES of a toy."""
    mesh = true(toy, cells)
    for name, change in CHANGES.items():
        file = out / name / f"{slug(toy.prompt)}.ply"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(ply(change(mesh)))


def main() -> None:
    made = argparse.ArgumentParser(
        prog="python -m world.meshes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("out", type=Path, metavar="OUT")
    made.add_argument("--only", nargs="+", default=list(SHOWN), metavar="PROMPT", help=f"default: {', '.join(SHOWN)}")
    options = made.parse_args()
    missing = [prompt for prompt in options.only if prompt not in OBJECTS]
    if missing:
        print(f"The known world has no toy for {missing[0]!r}; it has: {'; '.join(OBJECTS)}.", file=sys.stderr)
        sys.exit(2)
    try:
        for prompt in track(options.only, description="Marching"):
            write(options.out, OBJECTS[prompt])
    except ModuleNotFoundError as error:
        if error.name not in LIBRARIES:
            raise
        print(f"The library {LIBRARIES[error.name]} is not here: see --help for the command with it.", file=sys.stderr)
        sys.exit(2)
    print(f"{options.out}: run_benchmark.py evaluate {options.out} --suite world --as-it-is")


if __name__ == "__main__":
    main()
