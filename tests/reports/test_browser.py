"""The page in a real browser, from the disk: it turns, sorts and filters, asks nothing of a network, and says no error.
Skipped, with the reason, where there is no Chromium or no Playwright."""

import json
import shutil

import pandas as pd
import pytest
import torch
from rich.console import Console

from files import ROOT
from prompts import Prompt
from reports import page
from tests.reports.many import synthesise
from tests.reports.synthetic import WORLD, ball, random_scores, write_job

EVIL = Prompt("90-script", "<script>alert(1)</script>")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The page of two methods and three prompts at a desktop's size, and what the browser said and asked for."""
    api = pytest.importorskip("playwright.sync_api", reason="there is no Playwright: uv pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    run, rng = tmp_path_factory.mktemp("run"), torch.Generator().manual_seed(0)
    for method, level in (("sds", 0.0), ("sdi", 2.0)):
        for k, prompt in enumerate((*WORLD[:2], EVIL)):
            job = write_job(run, method, prompt, 0, ball(8, 16, hue=k), scores=random_scores(rng, level))
            config = json.loads((job / "config.json").read_text())
            config["recipe"]["suite"] = "world"
            (job / "config.json").write_text(json.dumps(config))
    page.write([run], run / "page", ["sdi", "sds"], lambda run: None, Console(quiet=True))
    said, asked = [], []
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((run / "page" / "index.html").as_uri())
        tab.wait_for_selector("html[data-ready]")
        yield tab, said, asked
        browser.close()


COVERED = """svg => {
    const boxes = (all) => all.map((e) => e.getBoundingClientRect());
    const names = boxes([...svg.querySelectorAll("text:not(.soft)")]);
    const dots = boxes([...svg.querySelectorAll("circle.mean")]);
    const meet = (a, b) => a !== b && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return [names.length, dots.length, names.filter((a) => [...names, ...dots].some((b) => meet(a, b))).length];
}"""


def test_names_of_twelve_methods_cover_neither_each_other_nor_a_dot(opened, tmp_path):
    synthesise(tmp_path / "run", prompts=4, seeds=1, views=2, size=8)
    made = page.write([tmp_path / "run"], tmp_path / "page", [], lambda run: None, Console(quiet=True), "none")
    tab = opened[0].context.browser.new_page()
    tab.goto(made.as_uri())
    tab.wait_for_selector("html[data-ready]")
    tab.locator(".chart.cost").first.scroll_into_view_if_needed()
    tab.wait_for_selector(".chart.cost svg")
    found = [tab.locator(".chart.cost svg").nth(k).evaluate(COVERED) for k in range(2)]
    tab.close()
    assert found == [[12, 12, 0]] * 2


def test_one_slider_turns_all(opened):
    tab, *_ = opened

    def places():
        return tab.eval_on_selector_all(".gallery .pic", "all => all.map(p => getComputedStyle(p).backgroundPosition)")

    before = places()
    tab.locator(".azimuth input").first.fill("90")
    after = places()
    assert len(after) == 6
    assert len(set(after)) == 1  # all of eight views stand at the third
    assert after[0] != before[0]
    assert after[0].startswith("28.57")
    assert tab.locator(".azimuth output").first.text_content() == "90°"


def test_a_heading_sorts_by_numbers_and_back(opened):
    tab, *_ = opened

    def rows():
        return tab.eval_on_selector_all("table.sortable tbody th", "all => all.map(h => h.textContent.trim())")

    heading = tab.locator("table.sortable thead button", has_text="NFE").first
    fog = tab.locator("table.sortable thead button", has_text="Fog").first
    assert rows() == ["sdi", "sds"]
    fog.click()
    assert rows() == ["sds", "sdi"]  # less fog comes first
    fog.click()
    fog.click()
    assert rows() == ["sdi", "sds"]
    heading.click()
    assert tab.locator("table.sortable [aria-sort]").count() == 1
    heading.click()
    heading.click()


def test_words_filter_prompts_and_a_script_is_text(opened):
    tab, said, _ = opened
    tab.locator(".filter").fill("alert")
    assert tab.locator(".gallery .prompt").all_text_contents() == [EVIL.text]
    tab.locator(".filter").fill("no such words")
    assert tab.locator(".none").is_visible()
    tab.locator(".filter").fill("")
    assert tab.locator(".gallery .prompt").count() == 3
    assert not said


def test_a_method_can_be_hidden(opened):
    tab, *_ = opened
    tab.locator(".choose summary").click()
    tab.locator(".chips input").nth(1).uncheck()
    assert tab.locator(".gallery button.turn").count() == 3
    assert not tab.locator("table.sortable tr[data-method=sds]").is_visible()
    tab.locator(".chips input").nth(1).check()
    assert tab.locator(".gallery button.turn").count() == 6


def test_arrows_walk_and_a_picture_opens(opened):
    tab, *_ = opened
    tab.locator(".gallery button.turn").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert tab.locator("dialog[open] h2").text_content() == WORLD[1].text
    assert "sds" in tab.locator("dialog[open] .note").first.text_content()
    tab.keyboard.press("Escape")
    assert tab.locator("dialog[open]").count() == 0


def test_opacities_take_the_place_of_colours(opened):
    tab, *_ = opened
    tab.locator(".kinds label", has_text="Opacity").click()
    files = tab.eval_on_selector_all(".gallery .pic", "all => all.map(p => p.dataset.file)")
    tab.locator(".kinds label", has_text="Colour").click()
    colours = tab.eval_on_selector_all(".gallery .pic", "all => all.map(p => p.dataset.file)")
    assert not set(files) & set(colours)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_has_both_schemes(opened, scheme):
    tab, *_ = opened
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.emulate_media(color_scheme=scheme)
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 380) == (scheme == "light")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    tab.set_viewport_size({"width": 1280, "height": 800})


@pytest.mark.parametrize(("width", "height", "scheme"), [(1280, 800, "light"), (360, 740, "dark")])
def test_axe_finds_nothing_serious(opened, width, height, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="uv pip install axe-playwright-python")
    tab, *_ = opened
    tab.set_viewport_size({"width": width, "height": height})
    tab.emulate_media(color_scheme=scheme)
    faults = axe.Axe().run(tab, options={"preload": False}).response["violations"]
    found = [(f["impact"], f["id"], f["nodes"][0]["target"]) for f in faults if f["impact"] in ("serious", "critical")]
    assert found == []
    tab.set_viewport_size({"width": 1280, "height": 800})


def test_an_axis_has_two_numbers_at_least_even_on_a_phone(opened):
    ends = [(-8.2, 9.6), (-0.9, 9.0), (0.011, 0.019), (40.1, 99.9), (-4e-5, 3e-5), (995.0, 1015.0)]
    counts = opened[0].evaluate(
        "ends => ends.map(([low, high]) => [2, 2.8, 4, 7].map((most) => ticks(low, high, most).length))", ends
    )
    assert all(2 <= n <= 2 * most for found in counts for n, most in zip(found, (2, 2.8, 4, 7), strict=True))


def test_judges_have_a_chart_a_metric(opened):
    tab, *_ = opened
    charts = tab.locator(".chart.curve svg")
    assert charts.count() == tab.locator(".curves figure").count() > 5
    curve = pd.read_csv(ROOT / "world/curves/responses.csv").query("distortion == 'foggy'")["clip_score"]
    said = f"foggy from {curve.iloc[0]:.2f} to {curve.iloc[-1]:.2f}"
    assert said in charts.first.get_attribute("aria-label")
    assert tab.locator(".legend.lines li").all_text_contents() == [
        "blurred", "noised", "foggy", "over-saturated", "parts-missing", "two-faced",
    ]  # fmt: skip


def test_nothing_was_asked_of_a_network_and_nothing_went_wrong(opened):
    """The last: of all that the tests above did."""
    _, said, asked = opened
    assert said == []
    assert len(asked) > 5
    assert all(url.startswith(("file://", "data:")) for url in asked)
