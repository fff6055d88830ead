"""Draws one product on a transparent ground: packaging, label, brand mark. Pillow and its own font only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kg.sample.designs import COLOURS, RGB, Design

__all__ = ["draw"]

# Drawn at twice the size and reduced: the one anti-aliasing that Pillow's shapes know.
WIDTH, HEIGHT = 480, 640
Area = tuple[int, int, int, int]
Pen = ImageDraw.ImageDraw


def draw(design: Design) -> Image.Image:
    """RGBA picture of the product, cropped to it, at most 240 x 320 pixels."""
    canvas = Image.new("RGBA", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(canvas)
    area, is_round = SHAPES[design.shape](pen, _body(design), COLOURS[design.brand.accent])
    _label(pen, area, design)
    small = canvas.reduce(2)
    if is_round:
        small = _rounded(small)
    small = small.crop(small.getbbox())
    # The larger size is the larger thing, and a little slimmer.
    return small if design.large else small.resize((round(small.width * 0.86), round(small.height * 0.8)))


def _body(design: Design) -> RGB:
    if design.material == "glass":
        return _mix(COLOURS[design.colour], (120, 84, 44) if design.shape == "dropper" else (226, 236, 232), 0.55)
    if design.material == "paper":
        return _mix(COLOURS[design.colour], (255, 255, 255), 0.15)
    return (196, 200, 204) if design.material == "aluminium" else COLOURS[design.brand.body]


def _mix(one: RGB, other: RGB, share: float) -> RGB:
    r, g, b = (round(a * (1 - share) + c * share) for a, c in zip(one, other, strict=True))
    return r, g, b


def _bottle(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.polygon([(124, 270), (196, 150), (284, 150), (356, 270)], body)
    pen.rounded_rectangle((120, 220, 360, 620), 46, body)
    pen.rounded_rectangle((190, 60, 290, 160), 14, accent)
    return (136, 290, 344, 570), True


def _pump(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.rounded_rectangle((110, 210, 370, 620), 34, body)
    pen.rectangle((200, 150, 280, 214), accent)
    pen.rectangle((228, 80, 252, 156), _mix(accent, (0, 0, 0), 0.2))
    pen.rounded_rectangle((120, 50, 290, 92), 16, accent)
    return (128, 260, 352, 580), True


def _spray(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.polygon([(190, 290), (206, 150), (274, 150), (290, 290)], body)
    pen.rounded_rectangle((126, 250, 354, 620), 50, body)
    pen.polygon([(130, 60), (300, 44), (340, 90), (280, 160), (200, 160), (196, 108), (130, 100)], accent)
    pen.polygon([(160, 108), (184, 108), (172, 196), (152, 190)], _mix(accent, (0, 0, 0), 0.3))
    return (142, 310, 338, 580), True


def _slim(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.polygon([(160, 290), (212, 190), (268, 190), (320, 290)], body)
    pen.rounded_rectangle((156, 260, 324, 624), 26, body)
    pen.rectangle((212, 80, 268, 200), body)
    pen.rounded_rectangle((206, 40, 274, 104), 10, accent)
    return (160, 330, 320, 570), True


def _dropper(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.rounded_rectangle((150, 300, 330, 620), 34, body)
    pen.rounded_rectangle((192, 220, 288, 312), 8, accent)
    pen.rounded_rectangle((212, 90, 268, 230), 26, (60, 60, 64))
    return (156, 360, 324, 590), True


def _jar(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.rounded_rectangle((70, 350, 410, 620), 44, body)
    pen.rounded_rectangle((60, 270, 420, 366), 18, accent)
    return (92, 392, 388, 590), True


def _tall_jar(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.rounded_rectangle((100, 230, 380, 620), 48, body)
    pen.rounded_rectangle((114, 150, 366, 244), 14, accent)
    return (106, 320, 374, 570), True


def _tube(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.polygon([(110, 50), (370, 50), (344, 540), (136, 540)], body)
    pen.rectangle((110, 44, 370, 76), _mix(body, (0, 0, 0), 0.16))
    pen.rounded_rectangle((160, 536, 320, 624), 16, accent)
    return (146, 120, 334, 500), True


def _can(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    pen.ellipse((120, 560, 360, 624), _mix(body, (0, 0, 0), 0.2))
    pen.rectangle((120, 170, 360, 594), body)
    pen.ellipse((120, 140, 360, 200), _mix(body, (255, 255, 255), 0.4), _mix(body, (0, 0, 0), 0.3), 6)
    return (120, 220, 360, 570), True


def _carton_side(pen: Pen, front: Area, depth: int, lift: int, body: RGB) -> None:
    left, top, right, bottom = front
    side = [(right, top), (right + depth, top - lift), (right + depth, bottom - lift), (right, bottom)]
    pen.polygon(side, _mix(body, (0, 0, 0), 0.32))
    pen.polygon(
        [(left, top), (left + depth, top - lift), (right + depth, top - lift), (right, top)],
        _mix(body, (255, 255, 255), 0.3),
    )
    pen.rectangle(front, body)


def _box(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    _carton_side(pen, (80, 120, 350, 620), 70, 44, body)
    pen.rectangle((80, 560, 350, 620), accent)
    return (92, 150, 338, 545), False


def _wide_box(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    _carton_side(pen, (20, 390, 400, 620), 60, 44, body)
    pen.rectangle((20, 390, 52, 620), accent)
    return (66, 402, 390, 608), False


def _carton(pen: Pen, body: RGB, accent: RGB) -> tuple[Area, bool]:
    _carton_side(pen, (110, 210, 340, 620), 56, 36, body)
    pen.polygon([(110, 210), (150, 110), (380, 100), (396, 174), (340, 210)], _mix(body, (255, 255, 255), 0.35))
    pen.rectangle((150, 84, 380, 116), _mix(body, (0, 0, 0), 0.15))
    pen.ellipse((214, 140, 272, 180), accent)
    return (118, 230, 332, 600), False


SHAPES: dict[str, Callable[[Pen, RGB, RGB], tuple[Area, bool]]] = {
    "bottle": _bottle,
    "pump": _pump,
    "spray": _spray,
    "slim": _slim,
    "dropper": _dropper,
    "jar": _jar,
    "tall jar": _tall_jar,
    "tube": _tube,
    "can": _can,
    "box": _box,
    "wide box": _wide_box,
    "carton": _carton,
}


def _label(pen: Pen, area: Area, design: Design) -> None:
    left, top, right, bottom = area
    width, height = right - left, bottom - top
    paper, accent = COLOURS[design.colour], COLOURS[design.brand.accent]
    ink = (28, 28, 32) if sum(paper) > 380 else (250, 250, 246)
    pen.rectangle(area, paper)
    _pattern(pen, area, design.brand.pattern, _mix(paper, accent, 0.45))
    if width > 1.2 * height:  # mark beside the text
        side = round(height * 0.62)
        _mark(pen, (left + 12, top + (height - side) // 2, side), design.brand.mark, accent, paper)
        left += side + 20
        lines = ((0.04, 0.3), (0.38, 0.2), (0.6, 0.2), (0.82, 0.16))
    else:
        side = min(round(height * 0.34), round(width * 0.6))
        _mark(pen, ((left + right - side) // 2, top + 12, side), design.brand.mark, accent, paper)
        lines = ((0.42, 0.19), (0.62, 0.13), (0.76, 0.13), (0.9, 0.09))
    words = (design.brand.name, design.kind.name, design.scent.title(), design.size)
    for word, (at, share) in zip(words, lines, strict=True):
        font = _fitting(word, right - left - 12, round(height * share))
        pen.text(((left + right) // 2, top + round(height * at)), word, ink, font, anchor="mt")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitting(word: str, width: int, height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    size = min(height, round(height * width / max(1.0, _font(height).getlength(word))))
    return _font(max(8, size))


def _pattern(pen: Pen, area: Area, pattern: str, ink: RGB) -> None:
    left, top, right, bottom = area
    if pattern == "band":
        pen.rectangle((left, bottom - (bottom - top) // 8, right, bottom), ink)
    elif pattern == "stripes":
        for x in range(left, right, 32):
            pen.rectangle((x, top, min(x + 6, right), bottom), ink)
    elif pattern == "dots":
        for y in range(top + 14, bottom - 6, 36):
            for x in range(left + 14 + (y // 36 % 2) * 18, right - 6, 36):
                pen.ellipse((x - 5, y - 5, x + 5, y + 5), ink)
    elif pattern == "split":
        pen.polygon([(left, top), (right, top), (left, top + (bottom - top) // 2)], ink)
    elif pattern == "arch":
        pen.pieslice((left, top, right, top + (right - left)), 180, 360, ink)


def _mark(pen: Pen, place: tuple[int, int, int], mark: str, ink: RGB, paper: RGB) -> None:
    x, y, side = place
    pen.ellipse((x - 4, y - 4, x + side + 4, y + side + 4), (252, 252, 250))

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x + px * side, y + py * side) for px, py in points]

    if mark == "disc":
        pen.ellipse(at((0.15, 0.15), (0.85, 0.85)), ink)
    elif mark == "ring":
        pen.ellipse(at((0.12, 0.12), (0.88, 0.88)), None, ink, max(3, side // 6))
    elif mark == "moon":
        pen.ellipse(at((0.12, 0.12), (0.88, 0.88)), ink)
        pen.ellipse(at((0.36, 0.08), (1.0, 0.74)), (252, 252, 250))
    elif mark == "drop":
        pen.ellipse(at((0.22, 0.38), (0.78, 0.92)), ink)
        pen.polygon(at((0.5, 0.06), (0.76, 0.56), (0.24, 0.56)), ink)
    elif mark == "wave":
        for row in (0.26, 0.5, 0.74):
            pen.line(
                at((0.1, row), (0.3, row - 0.12), (0.5, row), (0.7, row - 0.12), (0.9, row)), ink, max(3, side // 9)
            )
    else:
        pen.polygon(at(*POLYGONS[mark]), ink)


POLYGONS: dict[str, tuple[tuple[float, float], ...]] = {
    "leaf": ((0.1, 0.9), (0.14, 0.4), (0.5, 0.12), (0.9, 0.1), (0.86, 0.5), (0.6, 0.84)),
    "star": tuple(
        (0.5 + r * float(np.sin(a)), 0.5 - r * float(np.cos(a)))
        for a, r in zip(np.arange(10) * np.pi / 5, (0.48, 0.2) * 5, strict=True)
    ),
    "diamond": ((0.5, 0.04), (0.9, 0.5), (0.5, 0.96), (0.1, 0.5)),
    "peak": ((0.06, 0.82), (0.38, 0.2), (0.56, 0.52), (0.68, 0.34), (0.94, 0.82)),
    "cross": (
        (0.36, 0.1), (0.64, 0.1), (0.64, 0.36), (0.9, 0.36), (0.9, 0.64), (0.64, 0.64),
        (0.64, 0.9), (0.36, 0.9), (0.36, 0.64), (0.1, 0.64), (0.1, 0.36), (0.36, 0.36),
    ),
}  # fmt: skip


def _rounded(image: Image.Image) -> Image.Image:
    """Light from the upper left on something cylindrical."""
    pixels = np.asarray(image).astype(np.float32)
    across = np.linspace(-1, 1, image.width)
    shade = 0.62 + 0.42 * np.sqrt(np.clip(1 - across**2, 0, 1)) + 0.16 * np.exp(-(((across + 0.32) / 0.12) ** 2))
    pixels[..., :3] = (pixels[..., :3] * shade[None, :, None]).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8))
