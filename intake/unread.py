"""What lies in a path and no layout took, though it looks like a result: it is named, never left out in silence."""

from __future__ import annotations

from collections.abc import Iterator

from errors import UserError
from intake.base import Asked, Found, Refused, Tree
from intake.pictures import NUMBERED

ARCHIVES = {".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
MESHES = {
    ".gltf", ".stl", ".fbx", ".off", ".dae", ".3mf", ".usd", ".usda", ".usdc", ".usdz", ".blend", ".splat", ".spz",
}  # fmt: skip
PICTURES = {".bmp", ".tif", ".tiff", ".exr", ".hdr", ".ppm", ".tga", ".avif", ".jxl", ".jp2", ".heic"}
WHY = (
    (ARCHIVES, "it is an archive within what was handed in: hand it in by itself"),
    (MESHES, "meshes are read as GLB, OBJ or PLY: export it so"),
    (PICTURES, "views are read as PNG, JPEG or WebP: save them so"),
)


def find(tree: Tree, asked: Asked) -> Found:
    """Nothing but what is refused."""
    return Found([], [*_files(tree), *_empty(tree, asked)], [])


def _files(tree: Tree) -> Iterator[Refused]:
    """Files of other formats; of a folder's pictures, which are one object, the first."""
    for _, files in tree.free():
        for kinds, why in WHY:
            mine = [file for file in files if file.suffix.lower() in kinds]
            if kinds is PICTURES:
                mine = [file for file in mine if NUMBERED.fullmatch(file.stem)][:1]
            yield from (Refused(tree.shown(file), why) for file in mine)


def _empty(tree: Tree, asked: Asked) -> Iterator[Refused]:
    """Folders of a prompt without anything in them: what was to be there counts as missing."""
    filled = {above for folder, files in tree.folders.items() if files for above in (folder, *folder.parents)}
    parents = {folder.parent for folder in tree.folders}
    for folder in tree.folders:
        if folder in filled or folder in parents or tree.taken.intersection((folder, *folder.parents)):
            continue
        try:
            place = asked.place(tree, tree.parts(folder))
        except UserError:
            continue
        yield Refused(tree.shown(folder), "it is empty", place, "an empty folder")


def prompts_without(found: Found, asked: Asked) -> list[str]:
    """A sentence where prompts of the user's own list have no object."""
    if not asked.names.given or not found.units:
        return []
    there = {unit.place.prompt for unit in found.units}
    gone = [p.text for p in dict.fromkeys(asked.names.prompts) if p not in there]
    shown = ", ".join(map(repr, gone[:5])) + (", ..." if len(gone) > 5 else "")
    return [f"Of the prompts given {len(gone)} have no object: {shown}."] if gone else []
