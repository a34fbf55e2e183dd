"""Meshes on the page, in a real browser and from the disk: nothing is loaded unasked, and then shown."""

import pytest
import torch
from rich.console import Console

from reports import page
from reports.page import models
from tests.reports.synthetic import WORLD, ball, random_scores, write_job
from tests.reports.test_browser import CHROMIUM


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two jobs, one of which has a mesh, and their page."""
    trimesh = pytest.importorskip("trimesh")
    folder, rng = tmp_path_factory.mktemp("models") / "run", torch.Generator().manual_seed(0)
    for k, prompt in enumerate(WORLD[:2]):
        write_job(folder, "sds", prompt, 0, ball(8, 16, hue=k), scores=random_scores(rng, 0.0))
    (first, _) = sorted(folder.glob("*/*/*"))
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    box.visual.vertex_colors = [200, 30, 30, 255]
    (first / models.MESH).write_bytes(box.export(file_type="glb"))
    page.write([folder], folder / "page", ["sds"], lambda run: None, Console(quiet=True))
    return folder


def test_the_viewer_is_beside_a_page_with_meshes_alone_and_old_meshes_go(run):
    out = run / "page"
    assert (out / "model-viewer.js").stat().st_size < 1_200_000
    assert {f.suffix for f in (out / "meshes").iterdir()} == {".glb", ".js"}
    assert len(list((out / "meshes").iterdir())) == 2
    mesh = next(run.glob("sds/*/0/mesh.glb"))
    mesh.rename(run / "aside.glb")
    page.write([run], run / "second", ["sds"], lambda run: None, Console(quiet=True))
    assert not (run / "second" / "model-viewer.js").exists()
    page.write([run], out, ["sds"], lambda run: None, Console(quiet=True))
    assert not list((out / "meshes").iterdir())
    (run / "aside.glb").rename(mesh)
    page.write([run], out, ["sds"], lambda run: None, Console(quiet=True))
    assert len(list((out / "meshes").iterdir())) == 2


def test_a_mesh_is_shown_on_a_click_from_the_disk_without_a_network(run):
    api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright: uv pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    said, asked = [], []
    with api.sync_playwright() as playwright:
        gl = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *gl])
        tab = browser.new_page(viewport={"width": 900, "height": 800})
        tab.set_default_timeout(120_000)
        tab.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((run / "page" / "index.html").as_uri())
        tab.wait_for_selector("html[data-ready]")
        assert not [url for url in asked if "model" in url.rsplit("/", 1)[1] and "models.js" not in url]
        tab.locator("button.turn").first.click()
        tab.locator("button.model").click()
        tab.wait_for_function("document.querySelector('model-viewer')?.loaded")
        assert tab.locator("button.model").is_hidden()
        tab.screenshot(path=str(run / "shown.png"))
        size = tab.evaluate("document.querySelector('model-viewer').getDimensions().toString()")
        browser.close()
    assert said == []
    assert {url.split(":")[0] for url in asked} <= {"file", "blob", "data"}
    assert size.startswith("0.5")
