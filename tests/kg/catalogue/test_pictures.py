from __future__ import annotations

import hashlib
import http.server
import io
import os
import struct
import sys
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kg.catalogue.fetch import fetch
from kg.catalogue.pictures import Pictures, decode
from kg.errors import BadPicture, PictureAway, TooLarge
from kg.settings import Settings


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that states its size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


RED = encoded(Image.new("RGB", (40, 30), "red"))


@pytest.fixture
def pictures(tmp_path: Path) -> Iterator[Pictures]:
    made = Pictures.from_settings(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def test_folder_and_zip_read_the_same(pictures: Pictures, tmp_path: Path) -> None:
    folder = tmp_path / "my pictures!"
    folder.mkdir()
    (folder / "a b!c.png").write_bytes(RED)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("x/a b!ü.png", RED)
    in_folder = pictures.locate(folder, "a b!c.png")
    in_zip = pictures.locate(tmp_path / "all.zip", "x/a b!ü.png")
    assert in_folder.startswith("file:///")
    assert in_zip.startswith("zip:///")
    assert pictures.read(in_folder) == pictures.read(in_zip) == RED
    assert pictures.open(in_zip).getpixel((0, 0)) == (255, 0, 0)


def test_signature_follows_the_file(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(RED)
    before = pictures.signature(path.as_uri())
    assert pictures.signature(path.as_uri()) == before
    os.utime(path, (1, 1))
    assert pictures.signature(path.as_uri()) != before
    assert pictures.signature("https://example.org/a.png") == "https://example.org/a.png"


@pytest.mark.parametrize("reference", ["../secret.png", "/etc/passwd", "a/../../b.png"])
def test_references_stay_inside_the_folder(pictures: Pictures, tmp_path: Path, reference: str) -> None:
    with pytest.raises(BadPicture, match="leads out of"):
        pictures.locate(tmp_path / "shop", reference)


def test_relative_to_nothing_is_refused_and_urls_pass(pictures: Pictures, tmp_path: Path) -> None:
    with pytest.raises(BadPicture, match="a relative name needs"):
        pictures.locate(None, "a.png")
    assert pictures.locate(None, "/pictures/a b.png") == "file:///pictures/a%20b.png"
    assert pictures.locate(tmp_path, "https://example.org/a.png") == "https://example.org/a.png"
    assert pictures.locate("https://example.org/shop/", "a b.png") == "https://example.org/shop/a%20b.png"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file that is there and cannot be read")
def test_what_cannot_be_reached_now_may_be_there_later(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("/proc/self/mem")  # reading it fails as that of a share does that is away
    with pytest.raises(PictureAway, match=r"a\.png: Input/output error"):
        pictures.read(pictures.locate(tmp_path, "a.png"))
    for name in ("gone.png", "a.png/b.png", "x" * 300 + ".png", "."):
        with pytest.raises(BadPicture) as caught:
            pictures.read(pictures.locate(None, str(tmp_path / name)))
        assert type(caught.value) is BadPicture, name


def test_missing_pictures_are_named(pictures: Pictures, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    for images, name in [(tmp_path, "gone.png"), (tmp_path / "a.zip", "gone.png"), (tmp_path / "no.zip", "no.zip")]:
        uri = pictures.locate(images, "gone.png")
        for look in (pictures.signature, pictures.read, pictures.open):
            with pytest.raises(BadPicture, match=name):
                look(uri)
    for look in (pictures.signature, pictures.read, pictures.open):
        with pytest.raises(BadPicture, match="null byte"):
            look(pictures.locate(tmp_path, "a\0.png"))


def test_upright_box_and_its_limits(pictures: Pictures, tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: upright it is 20 wide, 40 high, blue on top
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(image, "JPEG", quality=95, exif=exif))
    assert pictures.open(path.as_uri()).size == (20, 40)
    assert pictures.measure(path.as_uri()) == (hashlib.sha256(path.read_bytes()).hexdigest(), 20, 40)
    top = pictures.open(path.as_uri(), (0, 0, 99, 15.5))
    assert top.size == (20, 16)
    assert np.asarray(top)[..., 2].mean() > 200
    with pytest.raises(BadPicture, match="lies outside of 20x40"):
        pictures.open(path.as_uri(), (20, 0, 30, 10))


def test_every_mode_becomes_rgb() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    palette = Image.new("P", (4, 4), 0)
    palette.info["transparency"] = 0
    deep = Image.fromarray(np.full((4, 4), 0x8000, np.uint16))
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("lime", "red")]
    for data, expected in [
        (encoded(clear), (255, 255, 255)),
        (encoded(palette, transparency=0), (255, 255, 255)),
        (encoded(deep), (127, 127, 127)),
        (encoded(deep, "TIFF"), (127, 127, 127)),
        (encoded(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"), (127, 127, 127)),
        (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG", quality=100), (254, 0, 0)),
        (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), (0, 255, 0)),
        (encoded(Image.new("1", (4, 4), 1)), (255, 255, 255)),
    ]:
        image = decode(data, name="x")
        assert image.mode == "RGB"
        assert np.abs(np.subtract(image.getpixel((1, 1)), expected)).max() <= 3, expected


@pytest.mark.parametrize("data", [b"", b"not a picture", RED[:60], b"\xff\xd8\xff\xe0" + b"\0" * 50, b"%!PS-Adobe"])
def test_broken_pictures(data: bytes) -> None:
    with pytest.raises(BadPicture, match=r"picture x cannot be decoded: (it is none of JPEG, PNG|[a-z ]*truncated)"):
        decode(data, name="x")


@pytest.mark.parametrize("format", ["JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_format_is_read(format: str) -> None:
    assert decode(encoded(Image.new("RGB", (8, 6), "red"), format), name="x").size == (8, 6)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_may_come_smaller_where_that_is_enough(mode: str) -> None:
    gradient = Image.linear_gradient("L").resize((640, 480))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    data = encoded(gradient.convert(mode), "JPEG", quality=95, exif=exif)
    whole = decode(data, name="x")
    assert whole.size == (480, 640)
    sizes = {least: decode(data, name="x", least=least).size for least in (1, 60, 61, 240, 241, 480, 9999)}
    quarter, half = (120, 160), (240, 320)
    assert sizes == {
        1: (60, 80),
        60: (60, 80),
        61: quarter,
        240: half,
        241: (480, 640),
        480: (480, 640),
        9999: (480, 640),
    }
    small = decode(data, name="x", least=240)
    difference = np.asarray(small, np.int16) - np.asarray(whole.resize(half, Image.Resampling.BOX), np.int16)
    assert np.abs(difference).max() <= 3
    assert decode(data, name="x", box=(0, 0, 480, 640), least=1).size == (480, 640), "boxes stay in pixels of the whole"
    assert decode(encoded(gradient), name="x", least=10).size == (640, 480), "only a JPEG knows how"


def test_measuring_finds_a_jpeg_that_is_cut_short(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(Image.effect_noise((400, 400), 60), "JPEG")[:-2000])
    with pytest.raises(BadPicture, match="cannot be decoded"):
        pictures.measure(path.as_uri())


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 10_000)])
def test_bombs_are_refused_before_decoding(width: int, height: int) -> None:
    with pytest.raises(TooLarge, match="50 megapixels"):
        decode(png_of(width, height), name="x")


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    pictures = Pictures(cache=tmp_path, max_bytes=1000)
    (tmp_path / "a.png").write_bytes(bytes(1001))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    for images in (tmp_path, tmp_path / "a.zip"):
        with pytest.raises(TooLarge, match=r"the limit is 0\.001 MB"):
            pictures.read(pictures.locate(images, "a.png"))
    pictures.close()


def test_a_zip_member_that_is_damaged(pictures: Pictures, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", RED)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(BadPicture, match="CRC"):
        pictures.read(pictures.locate(tmp_path / "a.zip", "a.png"))


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["host"]))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/red.png":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(RED)
        else:
            self.send_error(503 if self.path == "/503" else 404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_fetched_once_and_kept(web: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    pictures = Pictures(cache=tmp_path / "cache", fetch_private=True)
    host = f"localhost:{web.server_port}"
    uri = f"http://{host}/to//red.png"
    assert pictures.read(uri) == pictures.read(uri) == RED
    assert web.asked == [("/to//red.png", host), ("/red.png", host)]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_fetch_refuses(web: http.server.ThreadingHTTPServer) -> None:
    base = f"http://127.0.0.1:{web.server_port}"
    options = {"max_bytes": 10_000, "timeout_s": 5.0, "private": True}
    with pytest.raises(TooLarge, match="larger than 1e-05 MB"):
        fetch(f"{base}/red.png", **options | {"max_bytes": 10})
    with pytest.raises(BadPicture, match="answers 404"):
        fetch(f"{base}/none.png", **options)
    with pytest.raises(PictureAway, match="answers 503"):
        fetch(f"{base}/503", **options)
    with pytest.raises(PictureAway, match="ConnectError"):
        fetch("http://127.0.0.1:1/red.png", **options)
    with pytest.raises(BadPicture, match="redirects"):
        fetch(f"{base}{'/to/' * 9}/red.png", **options)
    with pytest.raises(BadPicture, match="not an http or https address"):
        fetch(f"{base}/to/file:///etc/passwd", **options)
    for host in ("a" * 64 + ".example", "a..b", "\ud800"):
        with pytest.raises(BadPicture):
            fetch(f"http://{host}/red.png", **options)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1", "0.0.0.0", "[64:ff9b::a00:1]", "2130706433"],
)
def test_private_addresses_are_refused(web: http.server.ThreadingHTTPServer, host: str) -> None:
    with pytest.raises(BadPicture, match="not a public address"):
        fetch(f"http://{host}:{web.server_port}/red.png", max_bytes=10_000, timeout_s=5)
    assert web.asked == []
