"""Hooks of the docs site: pages from files outside ``docs/``, links that hold on both sides, nothing from other hosts.

MkDocs calls these functions by their names (``hooks`` in ``mkdocs.yml``). Every link in the repository is written as
it works between its files; here it becomes the link between the pages made of them. A link to a file that is no page
is a warning, and ``--strict`` makes warnings errors.
"""

import logging
import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY_FILES = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "learning_curve.png": "models/learning_curve.png",
    "overview.md": "README.md",
    "research/equations.md": "handviz/models/amvur/README.md",
    "research/hamr_equations.md": "handviz/models/hamr/README.md",
    "research/model_card.md": "models/README.md",
    "research/sima_hand_equations.md": "handviz/models/sima_hand/README.md",
    "testing.md": "tests/README.md",
    "third_party.md": "THIRD_PARTY.md",
}
"""Place on the site -> file of the repository outside ``docs/`` that is shown there."""
SITE_PLACES = {path: place for place, path in REPOSITORY_FILES.items()}

# A block or span of code, in which nothing is a link, or the target of a link or image.
CODE_OR_TARGET = re.compile(r"^```.*?^```|(`+)(?:(?!\n\n).)+?\1|(?<=\]\()([^)\s]+)", re.MULTILINE | re.DOTALL)
# GitHub reads the first word after a fence as the language; the site's Markdown wants it alone ("sh tested").
WORDS_AFTER_LANGUAGE = re.compile(r"^(```[a-z]+) .*$", re.MULTILINE)
OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:|//|#", re.IGNORECASE)
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
CSS_ADDRESS = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
LOADING_ATTRIBUTES = frozenset({"src", "srcset", "poster", "data"})

log = logging.getLogger("mkdocs.hooks.handviz")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the repository's files outside ``docs/`` that are pages or images of the site."""
    root = Path(config.config_file_path).parent
    for place, path in REPOSITORY_FILES.items():
        files.append(File.generated(config, place, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the page's text as the site reads it: links lead from page to page, and fences name the language alone."""
    return WORDS_AFTER_LANGUAGE.sub(r"\1", site_links(markdown, page.file.src_uri))


def on_post_build(*, config: MkDocsConfig) -> None:
    """Warn of everything that the built pages would load from another host."""
    for path, address in foreign_loads(Path(config.site_dir)):
        log.warning("%s loads %s from another host", path, address)


def site_links(markdown: str, place: str) -> str:
    """Return the text of the page at ``place`` with links as they work on the site."""

    def replace(match: re.Match[str]) -> str:
        target = match[2]
        return match[0] if target is None or OTHER_SCHEME.match(target) else site_link(target, place)

    return CODE_OR_TARGET.sub(replace, markdown)


def site_link(target: str, place: str) -> str:
    """Return a relative link of the repository's file behind ``place`` as a link from that page."""
    path, mark, anchor = target.partition("#")
    source = REPOSITORY_FILES.get(place, f"docs/{place}")
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    on_site = SITE_PLACES.get(file, file.removeprefix("docs/") if file.startswith("docs/") else None)
    if on_site is None:
        log.warning(
            "%s links to %s, which is no page of the site: name it as code, or add it to REPOSITORY_FILES", source, file
        )
        return target
    return posixpath.relpath(on_site, posixpath.dirname(place) or ".") + mark + anchor


def foreign_loads(site: Path) -> Iterator[tuple[Path, str]]:
    """Yield file and address of everything that opening a page of the site would fetch from another host."""
    for path in sorted(site.rglob("*.html")):
        reader = _Loads()
        reader.feed(path.read_text(encoding="utf-8"))
        yield from ((path.relative_to(site), address) for address in reader.addresses)
    for path in sorted(site.rglob("*.css")):
        yield from (
            (path.relative_to(site), found[1]) for found in CSS_ADDRESS.finditer(path.read_text(encoding="utf-8"))
        )


class _Loads(HTMLParser):
    """A reader that collects what a page loads from other hosts; plain links are not loads."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the addresses of one element."""
        loading = LOADING_ATTRIBUTES | ({"href"} if tag == "link" else set())
        values = [value or "" for name, value in attrs if name in loading]
        styles = [value or "" for name, value in attrs if name == "style"]
        self.addresses += [value for value in values if ELSEWHERE.match(value)]
        self.addresses += [found for style in styles for found in CSS_ADDRESS.findall(style)]

    def handle_data(self, data: str) -> None:
        """Collect the addresses of a style sheet inside the page."""
        if self.get_starttag_text() and (self.get_starttag_text() or "").startswith("<style"):
            self.addresses += CSS_ADDRESS.findall(data)
