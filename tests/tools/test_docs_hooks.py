"""The docs site's hooks: links between files become links between pages, and no page loads from another host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handviz.core.paths import PROJECT_ROOT
from tests.browser import run_in_browser
from tools.docs_hooks import REPOSITORY_FILES, foreign_loads, site_links

PAGES = [
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
    *(PROJECT_ROOT / path for path in REPOSITORY_FILES.values() if path.endswith(".md")),
]
ITEM = re.compile(r"(?:[-*]|\d+\.) ")


@pytest.mark.parametrize(
    ("place", "link", "on_site"),
    [
        ("guide/index.md", "sources.md", "sources.md"),
        ("guide/index.md", "../glossary.md#models", "../glossary.md#models"),
        ("research/index.md", "../../models/README.md", "model_card.md"),
        ("research/model_card.md", "../docs/log/experiments.md", "../log/experiments.md"),
        ("research/model_card.md", "learning_curve.png", "../learning_curve.png"),
        ("overview.md", "docs/guide/camera.md", "guide/camera.md"),
        ("overview.md", "CHANGELOG.md", "changelog.md"),
        ("index.md", "#start", "#start"),
        ("index.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("index.md", "mailto:a@example.org", "mailto:a@example.org"),
    ],
)
def test_a_link_leads_to_the_same_text_on_the_site(place: str, link: str, on_site: str) -> None:
    assert site_links(f"See [this `page`]({link}) and ![it]({link}).", place) == (
        f"See [this `page`]({on_site}) and ![it]({on_site})."
    )


@pytest.mark.parametrize("code", ["`[a](../README.md)`", "```md\n[a](../README.md)\n```", "``x`[a](../README.md)``"])
def test_code_stays_as_it_is(code: str) -> None:
    text = f"{code}\n\n[a](../README.md)"
    assert site_links(text, "index.md") == f"{code}\n\n[a](overview.md)"


def test_a_link_to_what_is_no_page_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert site_links("[licence](../LICENSE)", "index.md") == "[licence](../LICENSE)"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("docs/index.md links to LICENSE")


def test_what_a_page_loads_from_another_host_is_found_and_its_links_are_not(tmp_path: Path) -> None:
    loads = [
        '<script src="https://a.example/x.js"></script>',
        '<link rel="stylesheet" href="//b.example/x.css">',
        '<img src="http://c.example/x.png">',
        '<p style="background: url(https://d.example/x.png)">',
        "<style>@import 'https://e.example/x.css';</style>",
    ]
    harmless = ['<a href="https://f.example/">', "<p>url(https://g.example/x)</p>", '<img src="x.png">']
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "page.html").write_text("\n".join([*harmless, *loads, *harmless]), encoding="utf-8")
    (tmp_path / "a.css").write_text("p { src: url( 'https://h.example/x.woff' ) }", encoding="utf-8")
    found = [(path.as_posix(), address.split("//")[1][0]) for path, address in foreign_loads(tmp_path)]
    assert found == [*(("a/page.html", host) for host in "abcde"), ("a.css", "h")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(PROJECT_ROOT).as_posix())
def test_a_page_has_a_title_a_first_sentence_and_blank_lines_before_lists_and_tables(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    title, first, *blocks = [block for block in text.split("\n\n") if block.strip()]
    if first.startswith("!["):  # what it looks like, before what it is
        first, *blocks = blocks
    assert title.lstrip().startswith("# "), "a page begins with its title"
    assert not re.search(r"^# ", "\n\n".join([first, *blocks]), re.MULTILINE), "a page has one title"
    assert not first.startswith(("#", "|", "-", "```", "!", "<")), "after the title a sentence says what the page is"
    for block in [first, *blocks]:
        lines = block.strip("\n").splitlines()
        late_items = [line for line in lines if ITEM.match(line)] if not ITEM.match(lines[0]) else []
        late_rows = [line for line in lines if line.startswith("|")] if not lines[0].startswith("|") else []
        assert not late_items + late_rows, "the site shows these as text of the paragraph before"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_its_scripts_ask_nobody(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0, built.stderr
    for page in tmp_path.rglob("*.html"):
        assert "```" not in page.read_text(encoding="utf-8"), f"{page.name}: a block of code is shown as text"
    opened = run_in_browser(tmp_path / "index.html", "document.querySelector('h1').textContent")
    assert opened["result"].startswith("handviz")
    assert [request for request in opened["requests"] if not request.startswith("file:")] == []
