"""The reference pages say what the code does: `python docs/build.py` mends a failure here."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
_spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
assert _spec is not None
assert _spec.loader is not None
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)


@pytest.mark.parametrize("page", build.PAGES)
def test_reference_page_is_what_the_code_says(page: str) -> None:
    assert (build.REFERENCE / f"{page}.md").read_text(encoding="utf-8") == build.PAGES[page]()


@pytest.mark.parametrize(
    "path", [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"], ids=str
)
def test_links_and_named_files_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    named = re.findall(r"`((?:kg|encoders|workers|api|migrations|benchmarks|docs|tests)/[\w/.]+\.\w+)`", text)
    missing = [link for link in links if link and not (path.parent / link).exists()]
    patterns = ("NAME", "CONCERN", "V00N")  # names that the reader fills in
    missing += [name for name in named if not any(p in name for p in patterns) and not (DOCS.parent / name).exists()]
    assert missing == []
