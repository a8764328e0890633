"""Build the documentation: the pages of docs/ and a reference made from the code. Nothing is fetched.

.venv/bin/python docs/build_site.py        # build/site/index.html; a warning is an error
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
OUTSIDE = re.compile(
    r"""(?:src|href)="(?:https?:)?//[^"]+\.(?:js|css|woff2?)["?]"""
)  # what a browser would load


class SiteError(Exception):
    """A site that is not to be published; says why."""


def build() -> Path:
    """Write build/site and return its first page. Raises SiteError for a warning, and for what is loaded from afar."""
    write_pages()
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--clean", "--strict"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        warnings = "\n".join(
            line for line in built.stderr.splitlines() if not line.startswith(("Traceback", "  "))
        )
        raise SiteError(f"{built.stdout}{warnings}")
    for page in SITE.rglob("*.html"):
        if found := OUTSIDE.search(page.read_text(encoding="utf-8")):
            raise SiteError(f"{page.relative_to(SITE)} loads {found[0]}")
    return SITE / "index.html"


def write_pages() -> None:
    """Write all pages as Markdown to build/docs: those of docs/, those of the project, and the reference."""
    from reference import reference_pages

    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.py", "*.toml", "__pycache__"))
    for name, page in FROM_ROOT.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for there, here in {"docs/": "", **FROM_ROOT}.items():
            text = text.replace(f"]({there}", f"]({here}")
        (PAGES / page).write_text(text, encoding="utf-8")
    for name, text in reference_pages().items():
        (PAGES / "reference" / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        print(build())  # noqa: T201
    except SiteError as error:
        sys.exit(f"{error}")
