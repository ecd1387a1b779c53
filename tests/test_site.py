"""The documentation as a site: every page is in it, every link leads somewhere, nothing comes from elsewhere."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from docs.build_site import bars_in_code, build
from tests.conftest import ROOT

DOCS = ROOT / "docs"
NAVIGATION = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
"""What a browser fetches by itself, by the attribute that says from where."""


class Page(HTMLParser):
    """What a page loads, links to, and can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in LOADED and LOADED[tag] in values and "canonical" not in values.get("rel", ""):
            self.loaded.append(values[LOADED[tag]])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "id" in values:
            self.anchors.add(values["id"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("built") / "site"
    assert build(folder) is None
    yield folder


def named(part: Any) -> list[str]:
    """The files of a part of the navigation, in its order."""
    if isinstance(part, str):
        return [part]
    members = part.values() if isinstance(part, dict) else part
    return [name for member in members for name in named(member)]


def html_of(page: str) -> str:
    return page.replace("README.md", "index.md").removesuffix(".md") + ".html"


def test_every_page_is_in_the_navigation_once() -> None:
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    assert sorted(named(NAVIGATION)) == pages


def test_the_tutorial_comes_first_and_the_reference_last() -> None:
    titles = [title for part in NAVIGATION for title in part]
    assert titles == ["Home", "Tutorial", "Guides", "Operations", "Concepts", "Reference"]


def test_every_page_is_a_page_of_the_site(site: Path) -> None:
    for name in named(NAVIGATION):
        assert "<h1" in (site / html_of(name)).read_text(), name


def test_links_and_pictures_are_there_also_where_the_generator_does_not_look(site: Path) -> None:
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 30
    for path, page in pages.items():
        for target in (*page.links, *page.loaded):
            if target.startswith(("http://", "https://", "data:", "mailto:")):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if file.is_dir():
                file = file / "index.html"
            assert file.exists(), f"{path.relative_to(site)}: {target}"
            if anchor and not anchor.startswith("__") and file.suffix == ".html":
                assert anchor in pages[file].anchors, f"{path.relative_to(site)}: {target}"


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        foreign = [target for target in Page(path.read_text()).loaded if re.match(r"(https?:)?//", target)]
        assert foreign == [], path.relative_to(site)
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text())


def test_what_lies_beside_the_pages_is_not_published(site: Path) -> None:
    assert list(site.rglob("*.py")) == [] and not (site / "errors.toml").exists()
    assert (site / "operations" / "compose.toml").exists() and (site / "reference" / "miroir.example.toml").exists()


def test_a_bar_in_the_code_of_a_table_is_one(site: Path) -> None:
    assert bars_in_code("| `a\\|b` | c \\| d |\n`e\\|f`") == "| `a|b` | c \\| d |\n`e\\|f`"
    page = (site / "reference" / "commands.html").read_text()
    assert "<code>--progress auto|bar|plain|json|none</code>" in page and "\\|" not in page


@pytest.mark.parametrize("link", ["nowhere.md", "concepts/glossary.md#nowhere"])
def test_a_link_that_leads_nowhere_is_an_error_that_names_it(tmp_path: Path, link: str) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    with (tmp_path / "docs" / "tutorial.md").open("a") as page:
        page.write(f"\n[lost]({link})\n")
    wrong = build(tmp_path / "site", pages=tmp_path / "docs")
    assert wrong is not None and "tutorial.md" in wrong and not (tmp_path / "site").exists()
