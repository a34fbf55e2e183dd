"""Who may import whom, read from the syntax tree: a room reaches down, never up, and heavy libraries have one door."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BELOW = {  # a room and the other rooms that it may import
    "scene": set(),
    "priors": {"scene"},
    "prompts": set(),
    "methods": {"priors", "scene"},
    "world": {"priors", "scene", "prompts", "eval"},  # its trainers make the encoders that eval judges with
    "eval": {"priors", "scene", "prompts"},
    "engine": {"methods", "eval", "world", "prompts", "priors", "scene"},
    "reports": {"methods", "eval", "world", "prompts", "priors", "scene"},
    "run_benchmark": {"engine", "reports", "methods", "eval", "world", "prompts", "priors", "scene"},
    "errors": set(),
}
DOORS = {  # a library and the files that may import it
    "diffusers": {"priors/stable_diffusion.py", "priors/student.py", "world/"},
    "peft": {"priors/student.py", "world/"},
    "transformers": {
        "priors/stable_diffusion.py",
        "priors/student.py",
        "eval/encoders.py",
        "eval/image_reward.py",
        "world/",
    },
    "ray": {"engine/launch.py"},
    "torchmetrics": {"eval/"},
    "pyiqa": {"eval/"},
    "open_clip": {"eval/"},
}
LAZY = {"torchmetrics", "pyiqa", "open_clip", "ImageReward", "ray"}  # inside a function, where they are used
UNSAFE = {"pickle", "dill", "cloudpickle", "joblib"}
ARCHIVES = "engine/convert.py"  # published archives become safetensors here, read as tensors alone

FILES = sorted(
    file
    for room in BELOW
    for file in ((ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else [ROOT / f"{room}.py"])
)
NAMES = [file.relative_to(ROOT).as_posix() for file in FILES]


def imports(file: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether at its top level. Type-checking blocks do not run, and do not count."""
    found = []

    def visit(node: ast.AST, top: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are by room"
            found.append((node.module or "", top))
            found.extend((f"{node.module}.{alias.name}", top) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        inside = isinstance(node, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, top and not inside)

    visit(ast.parse(file.read_text("utf-8")), True)
    return found


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_room_reaches_down(file):
    room = room_of(file)
    used = {name.split(".")[0] for name, _ in imports(file)} & BELOW.keys()
    assert used <= BELOW[room] | {room, "errors"}, f"{room} may not import {used - BELOW[room] - {room, 'errors'}}"


@pytest.mark.parametrize("file", [f for f in FILES if room_of(f) == "methods"], ids=lambda f: f.name)
def test_methods_do_not_import_each_other(file):
    if file.name != "__init__.py":
        used = {name for name, _ in imports(file) if name.startswith("methods.")}
        assert {name.split(".")[1] for name in used} <= {"base", "timesteps"}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_heavy_libraries_have_one_door(file):
    path = file.relative_to(ROOT).as_posix()
    for name, top in imports(file):
        library = name.split(".")[0]
        assert library not in DOORS or any(path.startswith(door) for door in DOORS[library]), f"{path}: {library}"
        assert not (top and library in LAZY), f"{path} imports {library} before it is used"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_nothing_is_unpickled(file):
    tree = ast.parse(file.read_text("utf-8"))
    assert not {name.split(".")[0] for name, _ in imports(file)} & UNSAFE
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "torch.load"]
    assert not loads or file == ROOT / ARCHIVES
    assert all("weights_only=True" in ast.unparse(load) for load in loads)
    assert not any(node.arg == "trust_remote_code" for node in ast.walk(tree) if isinstance(node, ast.keyword))


def test_the_reader_sees_what_it_should(tmp_path):
    file = tmp_path / "probe.py"
    file.write_text(
        "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    import g\nclass H:\n    import i\n"
    )
    assert imports(file) == [("a.b", True), ("c", True), ("c.d", True), ("g", False), ("i", True)]
