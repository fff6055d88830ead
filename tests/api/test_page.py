"""The web page in a real browser: Debian's chromium, headless, against the API over real stores."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from fastapi.responses import FileResponse, HTMLResponse, Response
from PIL import Image

from api.app import WEB, create_app
from kg.catalogue.columns import ColumnMap
from kg.catalogue.ingest import ingest
from kg.confounding import Finding
from kg.confounding import write as write_findings
from kg.sample import write_sample
from kg.stores import Stores
from kg.vectors import generations
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
# Two queries for two generations: typed, sent, answered.
DIFF = """
const until = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
await until(() => document.querySelector("#diff textarea"));
document.querySelector("#diff textarea").value = "green soap\\nglass bottle\\n\\nglass bottle";
document.querySelector("#diff form").requestSubmit();
await until(() => document.querySelectorAll("#diff .query").length === 2);
"""
WALK = (Path(__file__).parent / "page_walk.js").read_text(encoding="utf-8")
INSIDE = (Path(__file__).parent / "page_inside.js").read_text(encoding="utf-8")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")]


@pytest.fixture
def url(stores: Stores, tmp_path: Path) -> Iterator[str]:
    """Address of the API over ten products of the sample."""
    sample = write_sample(tmp_path / "sample", products=10)
    ingest(stores, sample.table, sample.images, ColumnMap.load(sample.map))
    embed(stores, write_tiny(tmp_path / "tiny", detector=True))
    app = create_app(stores.settings)
    both = Image.new("RGB", (460, 200), (255, 0, 255))
    for x, name in ((10, "L0003a"), (240, "L0005a")):
        with Image.open(sample.images / f"{name}.jpg") as photo:
            both.paste(photo.resize((180, 160)), (x, 20))
    both.save(tmp_path / "scene.png")

    scripts = {
        "pasted": PASTE,
        "walk": WALK,
        "diff": DIFF,
        "inside-mouse": f'const POINTER = "mouse";{INSIDE}',
        "inside-touch": f'const POINTER = "touch";{INSIDE}',
    }

    @app.get("/with/{name}")
    def scripted(name: str) -> HTMLResponse:
        page = (WEB / "index.html").read_text(encoding="utf-8")
        return HTMLResponse(page.replace("</head>", f'<script type="module" src="/{name}.js"></script></head>'))

    @app.get("/{name}.js")
    def script(name: str) -> Response:
        return Response(scripts[name], media_type="text/javascript")

    @app.get("/scene.png")
    def scene() -> FileResponse:
        return FileResponse(tmp_path / "scene.png")

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
    page = seen("/with/pasted")
    assert 'alt="the picture searched with"' in page
    assert "<title>by picture · skugraph</title>" in page
    first = page[page.index('<ol id="hits">') :].split('class="card"')[1]
    assert "looks alike 1.00" in first or "looks alike 0.9" in first
    assert "/v1/products/L0003a/pictures/0" in first


def test_nothing_found_says_so(seen: Callable[[str], str]) -> None:
    page = seen("/?brand=brand:nobody")
    assert "Nothing found" in page
    assert "nobody" in page


NEAR = """
MATCH (a:Entity {key: $a}), (b:Entity {key: $b})
CREATE (a)-[s:SIMILAR_TO]->(b) SET s.weight = $weight, s.source = $source
"""


def similar(stores: Stores) -> list[str]:
    """Three colours of the sample, the first similar to the second by two sources, that one to the third."""
    rows = stores.graph.read("MATCH (e:Entity {type: 'colour'}) RETURN e.key AS key ORDER BY key LIMIT 3")
    a, b, c = (row["key"] for row in rows)
    for one, other, weight, source in ((a, b, 0.8, "text"), (a, b, 0.6, "visual"), (b, c, 0.7, "cooccurrence")):
        stores.graph.write(NEAR, a=one, b=other, weight=weight, source=source)
    return [a, b, c]


def test_the_neighbourhood_of_an_entity_is_drawn_and_walked(seen: Callable[[str], str], stores: Stores) -> None:
    a, b, c = similar(stores)
    page = seen(f"/with/walk#entity/{quote(a, safe='')}")
    noted = re.search(r'<pre id="log">(.*?)</pre>', page, re.DOTALL)
    assert noted, re.findall(r'<div id="message".*?</div>', page)
    first, farther, walked, back, products = json.loads(html.unescape(noted[1]))
    assert (first["open"], first["nodes"], first["own"]) == (True, [b, a], [a])
    assert sorted(first["edges"]) == ["edge origin-text", "edge origin-visual"]
    assert len({(x, y) for x, y in first["places"]}) == 2
    assert (farther["nodes"], farther["own"]) == ([c, b, a], [a])
    assert sorted(farther["edges"]) == ["edge origin-cooccurrence", "edge origin-text", "edge origin-visual"]
    assert sorted(walked["nodes"][:-1]) == [a, c]
    assert (walked["own"], walked["nodes"][-1], walked["heading"]) == ([b], b, b.split(":")[1])
    assert (back["own"], back["places"]) == ([a], farther["places"])  # the same graph, the same picture
    assert (products["open"], products["search"]) == (False, f"?entity={quote(a, safe='')}")
    assert products["cards"] > 0


def test_an_entity_with_a_vector_of_its_own_is_marked(seen: Callable[[str], str], stores: Stores) -> None:
    a, b, _ = similar(stores)
    write_findings(stores.graph, [Finding(a, 1.257, 1.257, None, True), Finding(b, -0.25, -0.25, None, False)], by="f")
    page = seen(f"/#entity/{quote(a, safe='')}")
    assert "confounding 1.26, chosen: the encoder gives it a vector of its own" in page
    assert re.search(rf'data-key="{re.escape(html.escape(b))}" aria-label="[^"]*; confounding -0.25"', page)
    assert len(re.findall(r'<circle [^>]*class="chosen"', page)) == 2  # around the one, and in the legend
    assert '<td class="confounding">confounding -0.25</td>' in page


def test_the_words_entities_widen_a_search_and_the_way_is_shown(seen: Callable[[str], str], stores: Stores) -> None:
    a, b, _ = similar(stores)
    said = a.split(":")[1]
    page = seen(f"/?q={quote(said)}&graph=widen")
    assert 'aria-label="Remove graph: widen"' in page
    assert f"—0.80 text→ '{b.split(':')[1]}'".casefold() in page.casefold()
    assert f'title="Entities around {b}"' in page
    assert f"“{said}”" in page


def test_two_generations_are_shown_side_by_side(seen: Callable[[str], str], stores: Stores, tmp_path: Path) -> None:
    first = generations.live_id(stores)
    second = embed(stores, write_tiny(tmp_path / "other", seed=8, dim=32)).id
    page = seen(f"/with/diff#diff/{first}/{second}")
    shown = page[page.index('<dialog id="diff"') : page.index('<dialog id="key"')]
    assert re.match(r'<dialog id="diff"[^>]*\bopen', shown)
    assert re.findall(r'<option value="(g[0-9a-f]{10})">', shown) == [first, second] * 2
    assert re.findall(r"<h3>([^<]+)<", shown) in (["green soap", "glass bottle"], ["glass bottle", "green soap"])
    assert shown.count("<ol ") == 4
    assert shown.count('class="moved') == shown.count('class="row"') == 20
    assert "2 queries: " in shown
    assert "/picture?width=160" in shown
    only = shown.count(">only here<")
    assert only == shown.count('<li class="only">')
    assert only % 2 == 0


def test_one_generation_has_nothing_to_be_compared_with(seen: Callable[[str], str]) -> None:
    assert "There is only one" in seen("/#diff/choose")


def test_an_entity_that_is_not_there_is_said_to_be_so(seen: Callable[[str], str]) -> None:
    page = seen("/#entity/colour%3Anobody%2F%25")
    assert re.search(r'<dialog id="entity"[^>]*\bopen', page)
    assert "entity 'colour:nobody/%' does not exist" in page


@pytest.mark.parametrize("pointer", ["mouse", "touch"])
def test_the_products_in_a_picture_are_found_drawn_and_changed(
    seen: Callable[[str], str], stores: Stores, pointer: str
) -> None:
    page = seen(f"/with/inside-{pointer}")
    noted = re.search(r'<pre id="log">(.*?)</pre>', page, re.DOTALL)
    assert noted, re.findall(r'<div id="message".*?</div>', page)
    found, chosen, drawn, moved, removed = json.loads(html.unescape(noted[1]))
    titles = {
        row["id"]: row["title"] for row in stores.graph.read("MATCH (p:Product) RETURN p.id AS id, p.title AS title")
    }

    def percents(box: list[str]) -> list[float]:
        return [float(side.removesuffix("%")) for side in box]

    left = found["labels"].index(f"Product {found['chosen'] + 1}: {titles['L0003a']}")
    assert percents(found["boxes"][left]) == pytest.approx([1000 / 460, 10, 18000 / 460, 80], abs=0.5)
    assert sorted(label.split(": ")[1] for label in found["labels"]) == sorted([titles["L0003a"], titles["L0005a"]])
    assert (found["chosen"], found["heading"][:9], len(found["hits"])) == (0, "Product 1", 8)
    assert found["won"][:3] == ["1", "2", "1"]
    assert set(found["merged"][:2]) == {titles["L0003a"], titles["L0005a"]}

    assert (chosen["chosen"], chosen["heading"][:9], chosen["hits"][0]) == (1, "Product 2", titles["L0005a"])

    assert drawn["boxes"][:2] == found["boxes"]
    assert percents(drawn["boxes"][2]) == pytest.approx([60, 10, 35, 80], abs=1)
    same = {title for id, title in titles.items() if id.startswith("L0005")}
    assert (drawn["chosen"], "your box" in drawn["heading"], drawn["hits"][0] in same) == (2, True, True)
    assert percents(moved["boxes"][2]) == pytest.approx([58, 10, 35, 78], abs=1)
    assert removed["boxes"] == found["boxes"]
    assert len(removed["hits"]) == 8
