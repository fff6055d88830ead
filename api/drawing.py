"""Numbered boxes on a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from kg.records import Box

__all__ = ["draw_boxes"]

COLOURS = ("#0f766e", "#b45309", "#4338ca", "#be123c", "#4d7c0f", "#7e22ce", "#0369a1", "#a16207")
SMALL = 320  # pixels: a smaller picture is enlarged, or the numbers would hide it


def draw_boxes(image: Image.Image, boxes: Sequence[tuple[int, Box]]) -> Image.Image:
    """A copy of an RGB picture with (number, box) drawn on it; boxes are in pixels of `image`."""
    scale = max(1, round(SMALL / max(image.size)))
    drawn = image.resize((image.width * scale, image.height * scale), Image.Resampling.LANCZOS)
    line = max(2, round(max(drawn.size) / 250))
    font = ImageFont.load_default(max(12, 6 * line))
    pen = ImageDraw.Draw(drawn)
    for number, box in boxes:
        colour = COLOURS[(number - 1) % len(COLOURS)]
        x1, y1, x2, y2 = (scale * value for value in box)
        # A box may be narrower than a pixel.
        pen.rectangle((x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)), outline="white", width=line + 2)
        pen.rectangle((x1 + 1, y1 + 1, max(x2 - 2, x1 + 1), max(y2 - 2, y1 + 1)), outline=colour, width=line)
        _, _, wide, high = pen.textbbox((0, 0), str(number), font=font)
        pen.rectangle((x1, y1, x1 + wide + 2 * line + 2, y1 + high + 2 * line), fill=colour)
        pen.text((x1 + line + 1, y1 + line), str(number), fill="white", font=font)
    return drawn
