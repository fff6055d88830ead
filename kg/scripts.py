"""Scripts that part words by spaces, and those that do not; and marks that are as good as letters."""

from __future__ import annotations

import unicodedata

__all__ = ["MARKS", "mark", "unspaced"]

UNSPACED = ((0x0E00, 0x0EFF), (0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def unspaced(letter: str) -> bool:
    """A letter of Chinese, Japanese, Korean, Thai or Lao."""
    code = ord(letter)
    return code >= UNSPACED[0][0] and any(low <= code <= high for low, high in UNSPACED)


def mark(letter: str) -> bool:
    """A vowel of the scripts from Devanagari to Khmer, or a kana's voicing: no letter to Unicode, but what makes one
    word another. Accents are none, nor what Arabic and Hebrew leave away as often as they write it, nor what makes a
    sign an emoji."""
    return ("\u0900" <= letter < "\u1ab0" or letter in "\u3099\u309a") and unicodedata.category(letter) in ("Mn", "Mc")


MARKS = "".join(letter for letter in map(chr, range(0x0900, 0x309B)) if mark(letter))
