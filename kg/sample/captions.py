"""What shops write: the same product under other words, orders, abbreviations and slips."""

from __future__ import annotations

import random
import re

from kg.sample.designs import Design

__all__ = ["description", "title"]

ABBREVIATIONS = {
    "Shampoo": "Shamp.",
    "Conditioner": "Cond.",
    "Body lotion": "Body Lot.",
    "Toothpaste": "Toothp.",
    "Laundry powder": "Laundry pwd",
    "Surface spray": "Surf. spray",
}
SHAPES = {"slim": "bottle", "dropper": "dropper bottle", "spray": "spray bottle", "pump": "pump bottle"}
ORDERS = (
    "{brand} {kind} {scent} {size}",
    "{brand} {scent} {kind}, {size}",
    "{kind} {brand} {scent} {size}",
    "{scent} {kind} by {brand} {size}",
    "{brand} {kind} with {scent}",
    "{brand} {kind} {size} - {scent}",
)
EXTRAS = ("NEW ", "Original ", "Best price! ", "SALE ", "[in stock] ")
USES = {
    "Care": ("for every day", "for sensitive skin", "dermatologically tested", "without microplastics", "vegan"),
    "Household": ("for the whole home", "refill at our shops", "with plant-based tensides", "for shiny surfaces"),
    "Pantry": ("from organic farming", "no added sugar", "for the breakfast table", "fair trade", "vegan"),
}


def title(design: Design, chance: random.Random) -> str:
    """A shop's title: one in three is clean, the others lose, shorten or misspell something."""
    words = {
        "brand": design.brand.name,
        "kind": design.kind.name,
        "scent": design.scent.title(),
        "size": design.size,
    }
    order = chance.choice(ORDERS)
    if chance.random() < 0.35:
        return order.format(**words)
    if chance.random() < 0.4:
        words["kind"] = ABBREVIATIONS.get(design.kind.name, design.kind.name)
    if chance.random() < 0.3:
        words["size"] = words["size"].replace(" ", "")
    text = order.format(**words)
    if chance.random() < 0.25:
        text = text.replace(" with ", " w/ ").replace(words["size"], "").strip(" ,-")
    if chance.random() < 0.2:
        text = chance.choice(EXTRAS) + text
    if chance.random() < 0.2:
        text = _slip(text, chance)
    return text.upper() if chance.random() < 0.1 else re.sub(r"\s+", " ", text)


def description(design: Design, chance: random.Random) -> str:
    """One or two sentences that name scent, packaging and use; empty now and then."""
    if chance.random() < 0.12:
        return ""
    vessel = SHAPES.get(design.shape, design.shape)
    smell = "flavour" if design.kind.path[0] == "Pantry" else "scent"
    first = chance.choice(
        (
            f"{design.kind.name} with {design.scent} {smell} in a {design.colour} {vessel} of {design.material}.",
            f"A {vessel} of {design.size}, {design.scent}, {chance.choice(USES[design.kind.path[0]])}.",
            f"{design.brand.name} brings {design.scent} into your {design.kind.path[0].lower()}.",
        )
    )
    return f"{first} {chance.choice(USES[design.kind.path[0]]).capitalize()}." if chance.random() < 0.5 else first


def _slip(text: str, chance: random.Random) -> str:
    """Two neighbouring letters change places, or one is lost."""
    at = chance.randrange(1, len(text) - 1)
    if chance.random() < 0.5:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + text[at + 1 :]
