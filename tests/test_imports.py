"""Who may import whom, read from the syntax tree: a room reaches down, never up, and heavy libraries have one door."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (  # from the top: a room may import what lies below it, and itself
    ("run_benchmark",),
    ("commands",),
    ("engine.studies", "engine.bench", "engine.external", "engine.exports"),
    ("engine.scoring",),
    ("engine",),
    ("engine.recipes", "engine.weights"),
    ("suites",),
    ("world", "reports", "intake"),
    ("methods", "eval"),
    ("priors", "prompts"),
    ("scene",),
    ("names", "records", "say", "sources", "state"),
    ("files", "locks"),
    ("errors",),
)
LEVEL = {room: k for k, floor in enumerate(reversed(FLOORS)) for room in floor}
MOST = 18  # Python files of a folder at one level
DOORS = {  # a library and the files that may import it
    "diffusers": {
        "priors/adapter.py",
        "priors/single_file.py",
        "priors/stable_diffusion.py",
        "priors/student.py",
        "world/",
    },
    "peft": {"priors/student.py", "world/"},
    "transformers": {
        "priors/stable_diffusion.py",
        "priors/student.py",
        "eval/encoders.py",
        "eval/image_reward.py",
        "eval/outside/worker.py",  # of the environment of a judge, not of this one
        "world/",
    },
    "ray": {"engine/executors/ray.py"},
    "fsspec": {"engine/remote/objects.py"},
    "torchmetrics": {"eval/"},
    "pyiqa": {"eval/"},
    "open_clip": {"eval/"},
    "trimesh": {"intake/mesh.py", "engine/exports/"},
    "skimage": {"engine/exports/mesh.py", "world/meshes.py"},
    "fast_simplification": {"engine/exports/mesh.py", "world/meshes.py"},
    "embreex": {"intake/surface.py"},
    "av": {"intake/video.py", "engine/exports/pictures.py"},
    "viser": {"engine/exports/live.py"},
    "jinja2": {"reports/page/"},
}
LAZY = {
    "torchmetrics",
    "pyiqa",
    "open_clip",
    "ImageReward",
    "ray",
    "trimesh",
    "skimage",
    "fast_simplification",
    "viser",
    "embreex",
    "av",
    "jinja2",
    "fsspec",
}  # inside a function, where they are used
SHARED = {"base", "timesteps", "target", "variational"}  # algebra that rules have in common: never a rule
UNSAFE = {"pickle", "dill", "cloudpickle", "joblib"}
ARCHIVES = "engine/weights/convert.py"  # published archives become safetensors here, read as tensors alone

FILES = sorted(
    file
    for top in {room.split(".")[0] for room in LEVEL}
    for file in [*(ROOT / top).rglob("*.py"), *ROOT.glob(f"{top}.py")]
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
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found.extend((name if name in MODULES else node.module or "", top) for name in inside)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        inside = isinstance(node, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, top and not inside)

    visit(ast.parse(file.read_text("utf-8")), True)
    return found


def room_of(module: str) -> str:
    """The room of a module, by its longest name: `engine.recipes` apart from `engine`."""
    parts = module.split(".")
    return next((r for n in (2, 1) if (r := ".".join(parts[:n])) in LEVEL), "")


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(file): file for file in FILES}


def arrows(file: Path) -> set[str]:
    """The modules of the house that a file imports."""
    return {name for name, _ in imports(file) if name in MODULES} - {module_of(file)}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_a_room_reaches_down(file):
    own = room_of(module_of(file))
    up = {name for name in arrows(file) if room_of(name) != own and LEVEL[room_of(name)] >= LEVEL[own]}
    assert not up, f"{own} may not import {sorted(up)}: only what lies on a lower floor"


def test_no_circle():
    """Kahn's algorithm: what is left when files without arrows are taken away, again and again, imports itself."""
    left = {name: arrows(file) for name, file in MODULES.items()}
    while done := [name for name, used in left.items() if not used & left.keys()]:
        left = {name: used for name, used in left.items() if name not in done}
    assert not left, f"these import each other in a circle, or lead to one: {sorted(left)}"


def test_folders_can_be_taken_in_at_a_glance():
    count = Counter(file.parent for file in FILES)
    assert max(count.values()) <= MOST, count.most_common(3)


def test_floors_are_printed(capsys):
    """`pytest -s tests/test_imports.py -k floors` shows the house."""
    with capsys.disabled():
        print()
        for k, floor in enumerate(FLOORS):
            rooms = (f"{room} ({sum(room_of(m) == room for m in MODULES)})" for room in floor)
            print(f"  {len(FLOORS) - k:2}  {', '.join(rooms)}")
    assert {room_of(module) for module in MODULES} | {"suites"} == LEVEL.keys()


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name == "methods"], ids=lambda f: f.name)
def test_methods_do_not_import_each_other(file):
    if file.name != "__init__.py":
        used = {name for name, _ in imports(file) if name.startswith("methods.")}
        assert {name.split(".")[1] for name in used} <= SHARED


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
    assert imports(file) == [("a.b", True), ("c", True), ("g", False), ("i", True)]


def test_the_walk_from_a_prompt_to_a_row_names_files_that_are_there_and_each_once():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    walk = text[text.index("## From a prompt to a table row") : text.index("## What a new thing takes")]
    named = [name for name in re.findall(r"`([\w/]+\.py)`", walk) if name != "run_benchmark.py"]
    assert len(named) > 30
    assert sorted(named) == sorted(set(named))
    assert all((ROOT / name).is_file() for name in named)
    whole = re.findall(r"`([\w/]+/(?:\w+\.py)?)`", text)
    assert all((ROOT / name).exists() for name in whole if "<" not in name), whole
