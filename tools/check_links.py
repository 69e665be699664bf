"""Checks the links of a built site: ``python tools/check_links.py build/docs``.

It fails for a link, a picture, a script or a style that leads to no file of the site or to no anchor of a page.
It also fails for a picture, a script, a style or a font from elsewhere, since the site is read where there is no
network.  It lists links to elsewhere, and does not follow them.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """One page of the site.

    Attributes:
        anchors: What a link to this page may have behind its ``#``.
        links: Where the page leads.
        parts: What a browser fetches to show the page.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.parts: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and "href" in found and found.get("rel") in ("stylesheet", "icon", "preload"):
            self.parts.append(found["href"])
        if "src" in found:
            self.parts.append(found["src"])


def problems_and_links(site: Path) -> tuple[list[str], set[str]]:
    """Return what is wrong, a line each, and the links to elsewhere."""
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html"))}
    problems: list[str] = []
    elsewhere: set[str] = set()
    for file, page in pages.items():
        name = file.relative_to(site.resolve()).as_posix()
        for address in page.links + page.parts:
            if urlsplit(address).scheme == "data":
                continue
            if urlsplit(address).scheme or urlsplit(address).netloc:
                elsewhere.add(address)
                if address in page.parts:
                    problems.append(f"{name}: fetched from elsewhere: {address}")
            elif not leads_somewhere(address, file, pages):
                problems.append(f"{name}: leads nowhere: {address}")
    for style in sorted(site.rglob("*.css")):
        from_elsewhere = re.findall(
            r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")
        )
        problems += [
            f"{style.relative_to(site)}: fetched from elsewhere: {found}" for found in from_elsewhere
        ]
    if not pages:
        problems.append(f"no page in {site}")
    return problems, elsewhere


def leads_somewhere(address: str, file: Path, pages: dict[Path, Page]) -> bool:
    """Whether an address in ``file`` leads to a file, and to an anchor of it where it names one."""
    parts = urlsplit(address)
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target in pages:
        return unquote(parts.fragment) in pages[target].anchors
    return target.is_file()


def main(site: Path) -> int:
    problems, elsewhere = problems_and_links(site)
    print("Links to elsewhere, not followed:", *sorted(elsewhere), sep="\n  ")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
