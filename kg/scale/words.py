"""Names that do not exist, the same for the same numbers."""

from __future__ import annotations

__all__ = ["BRANCHES", "COLOURS", "CURRENCY", "MATERIALS", "SIZES", "STEMS", "made_up"]

CURRENCY = "EUR"
COLOURS = (
    "red", "green", "blue", "black", "white", "grey", "teal", "pink", "amber", "beige", "brown", "coral",
    "cyan", "gold", "indigo", "ivory", "khaki", "lilac", "mint", "navy", "olive", "plum", "rust", "sand",
)  # fmt: skip
MATERIALS = ("steel", "oak", "cotton", "glass", "wool", "leather", "bamboo", "linen", "rubber", "brass", "clay", "cork")
SIZES = ("XS", "S", "M", "L", "XL", "XXL", "one size", "set of 2", "set of 4", "set of 6")
BRANCHES = (
    "Kitchen", "Garden", "Bath", "Office", "Sport", "Travel", "Toys", "Lighting", "Storage", "Textiles", "Tools", "Care"
)  # fmt: skip
STEMS = ("Basic", "Classic", "Compact", "Deluxe", "Everyday", "Outdoor", "Pro", "Small")

_HEADS = ("b", "br", "d", "f", "g", "gr", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "eo", "ou")
_TAILS = ("", "l", "m", "n", "r", "s", "x")


def made_up(number: int) -> str:
    """The name of that number: two to four syllables, another one for every number."""
    syllables: list[str] = []
    rest = number
    while len(syllables) < 2 or rest:
        rest, place = divmod(rest, len(_HEADS) * len(_VOWELS))
        syllables.append(_HEADS[place % len(_HEADS)] + _VOWELS[place // len(_HEADS)])
    return ("".join(syllables) + _TAILS[number % len(_TAILS)]).capitalize()
