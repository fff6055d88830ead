"""Scripts that part words by spaces, and those that do not."""

from __future__ import annotations

__all__ = ["unspaced"]

UNSPACED = ((0x0E00, 0x0EFF), (0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def unspaced(letter: str) -> bool:
    """A letter of Chinese, Japanese, Korean, Thai or Lao."""
    code = ord(letter)
    return code >= UNSPACED[0][0] and any(low <= code <= high for low, high in UNSPACED)
