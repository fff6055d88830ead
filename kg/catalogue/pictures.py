"""Pictures by URI, wherever they lie: `file:///abs`, `zip:///abs/images.zip!member`, `http(s)://…`.

A picture is measured before it is decoded: bytes, then pixels as its header states them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import math
import os
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from kg.catalogue.fetch import fetch
from kg.errors import BadPicture, PictureAway, TooLarge
from kg.home import Home
from kg.records import Box
from kg.settings import Settings

__all__ = ["WEB", "Pictures", "decode"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")  # an MPO comes as a JPEG
WEB = ("http://", "https://")  # what a picture elsewhere begins with
# Errors of a file that is not there, or is none. All others (a share that is away, a disk that fails, a right that is
# missing) may pass. Readers of broken zips raise some without a number.
FOR_GOOD = (
    None,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
)
# Pillow warns above a limit of its own; ours is lower or meant so, and it is an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Pictures:
    """Reads and decodes pictures; safe to share between threads.

    Args:
        cache: folder of fetched pictures, one file a URL.
        max_bytes: of the file.
        max_pixels: width times height.
        fetch_timeout_s: of one fetch.
        fetch_private: allow URLs of private addresses.
    """

    def __init__(
        self,
        *,
        cache: Path,
        max_bytes: int = 20_000_000,
        max_pixels: int = 50_000_000,
        fetch_timeout_s: float = 15.0,
        fetch_private: bool = False,
    ) -> None:
        self.cache, self.max_bytes, self.max_pixels = cache, max_bytes, max_pixels
        self.fetch_timeout_s, self.fetch_private = fetch_timeout_s, fetch_private
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Pictures:
        return cls(
            cache=Home(settings.home).cache / "pictures",
            max_bytes=int(settings.picture_max_mb * 1e6),
            max_pixels=int(settings.picture_max_megapixels * 1e6),
            fetch_timeout_s=settings.picture_fetch_timeout_s,
            fetch_private=settings.fetch_private,
        )

    def close(self) -> None:
        with self._lock:
            for archive in self._zips.values():
                archive.close()
            self._zips.clear()

    def locate(self, images: Path | str | None, reference: str) -> str:
        """The URI of a picture that a table names. Looks at no file.

        Args:
            images: a folder, a zip file, the first part of a URL, or None: the reference is a URL or an absolute path.
            reference: as the table writes it.

        Raises:
            BadPicture: a reference that leads out of the folder, or is relative to nothing.
        """
        if reference.startswith(WEB):
            return reference
        if isinstance(images, str) and images.startswith(WEB):
            return f"{images.rstrip('/')}/{quote(reference)}"
        if images is None:
            if not os.path.isabs(reference):
                raise BadPicture(f"picture {reference!r}: a relative name needs the folder or zip of the pictures")
            return Path(reference).as_uri()
        base = os.path.abspath(images)
        if base.lower().endswith(".zip"):
            return f"zip://{quote(base)}!{quote(reference)}"
        path = os.path.normpath(os.path.join(base, reference))
        if not path.startswith(base.rstrip(os.sep) + os.sep):
            raise BadPicture(f"picture {reference!r} leads out of {base}")
        return Path(path).as_uri()

    def signature(self, uri: str) -> str:
        """Changes when the picture does, without reading it: size and time, CRC and size in a zip, or the URL itself.

        Raises:
            BadPicture: no such file or member.
        """
        if uri.startswith(WEB):
            return uri
        if uri.startswith("zip://"):
            info = self._member(uri)[1]
            return f"{info.CRC:08x}-{info.file_size}"
        state = self._stat(_path(uri))
        return f"{state.st_size}-{state.st_mtime_ns}"

    def read(self, uri: str) -> bytes:
        """The bytes of the file.

        Raises:
            BadPicture: missing, unreadable, or a fetch that fails; a `PictureAway` where that may pass.
            TooLarge: above the limit; nothing was read.
        """
        if uri.startswith(WEB):
            return self._fetched(uri)
        if uri.startswith("zip://"):
            archive, info = self._member(uri)
            self._check_bytes(uri, info.file_size)
            try:
                return archive.read(info)
            except OSError as error:
                raise _unread(f"picture {unquote(uri)}", error) from error
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
                raise BadPicture(f"picture {unquote(uri)}: {error}") from error
        path = _path(uri)
        self._check_bytes(uri, self._stat(path).st_size)
        try:
            return path.read_bytes()
        except OSError as error:
            raise _unread(f"picture {path}", error) from error

    def open(self, uri: str, box: Box | None = None, *, least: int = 0) -> Image.Image:
        """The upright picture in RGB, cropped to `box` (pixels of the upright whole; what lies outside is cut off).

        `least` as in `decode`.

        Raises:
            BadPicture: as `read`, and what is not a picture, is cut short, or has nothing inside the box.
            TooLarge: as `read`, and more pixels than the limit; nothing was decoded.
        """
        return decode(self.read(uri), name=unquote(uri), max_pixels=self.max_pixels, box=box, least=least)

    def measure(self, uri: str) -> tuple[str, int, int]:
        """SHA-256 of the file (64 hex digits), width and height of the upright picture; all of it is decoded, a JPEG
        at an eighth of its size, so that what is broken is found.

        Raises:
            BadPicture, TooLarge: as `open`.
        """
        data = self.read(uri)
        with _opened(data, unquote(uri), self.max_pixels) as image:
            width, height = image.size
            if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:
                width, height = height, width
            image.draft(image.mode, (width // 8, height // 8))
            image.load()
        return hashlib.sha256(data).hexdigest(), width, height

    def _fetched(self, url: str) -> bytes:
        kept = self.cache / hashlib.sha256(url.encode()).hexdigest()
        if kept.is_file():
            return kept.read_bytes()
        body = fetch(url, max_bytes=self.max_bytes, timeout_s=self.fetch_timeout_s, private=self.fetch_private)
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.cache, prefix=".part-", delete=False) as file:
            file.write(body)
        os.replace(file.name, kept)
        return body

    def _member(self, uri: str) -> tuple[zipfile.ZipFile, zipfile.ZipInfo]:
        path, _, member = uri.removeprefix("zip://").partition("!")
        path, member = unquote(path), unquote(member)
        with self._lock:
            archive = self._zips.get(path)
            if archive is None:
                try:
                    archive = self._zips[path] = zipfile.ZipFile(path)
                except OSError as error:
                    raise _unread(f"pictures {path}", error) from error
                except zipfile.BadZipFile as error:
                    raise BadPicture(f"pictures {path}: {error}") from error
        try:
            return archive, archive.getinfo(member)
        except KeyError:
            raise BadPicture(f"no picture {member} in {path}") from None

    def _stat(self, path: Path) -> os.stat_result:
        try:
            return path.stat()
        except OSError as error:
            raise _unread(f"picture {path}", error) from error
        except ValueError as error:  # a zero byte in the name
            raise BadPicture(f"picture {str(path)!r}: {error}") from error

    def _check_bytes(self, uri: str, size: int) -> None:
        if size > self.max_bytes:
            raise TooLarge(f"picture {unquote(uri)}: {size / 1e6:.1f} MB, the limit is {self.max_bytes / 1e6:g} MB")


def decode(
    data: bytes, *, name: str, max_pixels: int = 50_000_000, box: Box | None = None, least: int = 0
) -> Image.Image:
    """The upright RGB picture in `data`, cropped to `box`; the first frame of several, transparency on white.

    With `least` and no box, a JPEG may come at a half, a quarter or an eighth of its size, its sides no shorter than
    `least` pixels: that is several times faster, for who makes it smaller anyway.

    Raises:
        BadPicture: not a picture, cut short, broken, or nothing inside the box.
        TooLarge: more than `max_pixels`, known from the header alone.
    """
    with _opened(data, name, max_pixels) as image:
        if least and box is None:
            image.draft(None, (least, least))
        whole = _rgb(ImageOps.exif_transpose(image))
    return whole if box is None else _cropped(whole, box, name)


def _cropped(image: Image.Image, box: Box, name: str) -> Image.Image:
    left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    right, bottom = min(math.ceil(box[2]), image.width), min(math.ceil(box[3]), image.height)
    if left >= right or top >= bottom:
        raise BadPicture(f"picture {name}: the box {list(box)} lies outside of {image.width}x{image.height}")
    return image.crop((left, top, right, bottom))


@contextlib.contextmanager
def _opened(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                size = f"{image.width} x {image.height} pixels"
                raise TooLarge(f"picture {name}: {size}, the limit is {max_pixels / 1e6:g} megapixels")
            yield image
    except TooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise TooLarge(f"picture {name}: {error}, the limit is {max_pixels / 1e6:g} megapixels") from error
    except UnidentifiedImageError as error:
        raise BadPicture(f"picture {name} cannot be decoded: it is none of {', '.join(FORMATS)}") from error
    # Decoders raise what they like on broken data (OSError, SyntaxError, struct.error, IndexError, …).
    except Exception as error:
        raise BadPicture(f"picture {name} cannot be decoded: {error or type(error).__name__}") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        # 16-bit grey comes as I;16 or I; a float picture is either 0..1 or 0..255.
        scale = 257 if image.mode != "F" else (1 if values.max(initial=0) > 1 else 1 / 255)
        return Image.fromarray((values / scale).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _unread(what: str, error: OSError) -> BadPicture:
    kind = BadPicture if error.errno in FOR_GOOD else PictureAway
    return kind(f"{what}: {error.strerror or error}")


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc:
        raise BadPicture(f"picture {uri!r}: not a file, zip, http or https URI")
    return Path(unquote(parts.path))
