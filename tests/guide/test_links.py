"""Nothing in the guide points to what is not there, and all of it can be found from its index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.guide.pages import FENCE, NAMES, PAGES, ROOT, SPAN, spans, text_of

LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"[\w.-]+(/[\w.-]+)+\.(py|md|csv|json|toml|txt|png|yml|xz)")
MADE = ("results/runs/", "results/tuned/", "RUN/")  # what a reader's own commands write


def links(page: Path) -> list[str]:
    return [link for link in LINK.findall(SPAN.sub("", FENCE.sub("", text_of(page)))) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """What its headings are called in addresses, by GitHub's rule."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_sentences_name_are_there(page):
    tops = {place.name for place in ROOT.iterdir()}
    for span in spans(page):
        if FILE.fullmatch(span) and span.split("/")[0] in tops and not span.startswith(MADE):
            assert (ROOT / span).exists(), span


def test_the_citation_is_of_this_version():
    """By hand: `uvx cffconvert --validate` holds it against the format's schema."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert f'version = "{cited["version"]}"' in project
    assert f'license = "{cited["license"]}"' in project


def test_every_page_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)} | {index}
    for page in PAGES:
        assert "docs" not in page.parts or page in listed, f"{page} is not in docs/README.md"
    assert "docs/README.md" in links(ROOT / "README.md")
