"""The web page in a real browser: Debian's chromium, headless, against the API over real stores."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi.responses import HTMLResponse, Response

from api.app import WEB, create_app
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.sample import write_sample
from kg.stores import Stores
from tests.api.test_search import embed
from tests.tiny_encoder import write_tiny

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
# What a user's clipboard does: a product's own picture is pasted into the page.
PASTE = """
const picture = await (await fetch("/v1/products/L0003a/picture")).blob();
const data = new DataTransfer();
data.items.add(new File([picture], "pasted.jpg", { type: "image/jpeg" }));
document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data }));
"""
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")]


@pytest.fixture
def url(stores: Stores, tmp_path: Path) -> Iterator[str]:
    """Address of the API over ten products of the sample."""
    sample = write_sample(tmp_path / "sample", products=10)
    ingest(stores, sample.table, sample.images, ColumnMap.load(sample.map))
    embed(stores, write_tiny(tmp_path / "tiny"))
    app = create_app(stores.settings)

    @app.get("/pasted")
    def pasted() -> HTMLResponse:
        page = (WEB / "index.html").read_text(encoding="utf-8")
        return HTMLResponse(page.replace("</head>", '<script type="module" src="/paste.js"></script></head>'))

    @app.get("/paste.js")
    def script() -> Response:
        return Response(PASTE, media_type="text/javascript")

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def seen(url: str, tmp_path: Path) -> Callable[[str], str]:
    """The page at a path after its scripts have run; nothing may have been refused or failed on the way."""

    def visit(path: str) -> str:
        options = [*QUIET.split(), f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=15000"]
        options += ["--enable-logging=stderr", "--dump-dom", url + path]
        done = subprocess.run(
            [str(CHROMIUM), "--headless", *options], capture_output=True, text=True, timeout=120, check=True
        )
        assert not re.findall(r"CONSOLE.*(?:Error|Refused|Failed).*", done.stderr)
        return done.stdout

    return visit


def test_the_catalogue_is_on_show_before_anything_is_asked(seen: Callable[[str], str]) -> None:
    page = seen("/")
    assert page.count('class="card"') == 24
    assert "plan browse" in page
    assert re.search(r'class="name">Household</span><span class="count">\d+', page)


def test_a_search_shows_price_reason_and_the_filters_as_chips(seen: Callable[[str], str]) -> None:
    page = seen("/?q=soap&category=category:household&max=1000")
    assert "its text fits the words" in page
    assert "€" in page
    assert 'aria-label="Remove household"' in page
    assert 'aria-label="Remove up to 1000"' in page
    assert "How it was found" in page


def test_a_product_opens_with_its_offers(seen: Callable[[str], str]) -> None:
    page = seen("/#product/L0003a")
    assert re.search(r'<dialog id="product"[^>]*\bopen', page)
    assert "offers of this product" in page


def test_a_pasted_picture_is_searched_with(seen: Callable[[str], str]) -> None:
    page = seen("/pasted")
    assert 'alt="the picture searched with"' in page
    assert "<title>by picture · skugraph</title>" in page
    first = page[page.index('<ol id="hits">') :].split('class="card"')[1]
    assert "looks alike 1.00" in first or "looks alike 0.9" in first
    assert "/v1/products/L0003a/pictures/0" in first


def test_nothing_found_says_so(seen: Callable[[str], str]) -> None:
    page = seen("/?brand=brand:nobody")
    assert "Nothing found" in page
    assert "nobody" in page
