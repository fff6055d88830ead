"""Entities whose words may mislead an encoder: confounding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.common import HomeOption, JsonOption, emit, open_settings, say, table

if TYPE_CHECKING:
    from kg.confounding import ScoredEntity

__all__ = ["confounding"]


def confounding(
    encoder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Checkpoint whose findings the graph is to have; none: show what it has"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Entities shown at each end of a type")] = 5,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which entities have words that fit least with what their products look like ("diesel", "top"): the most and the
    least confounding of each type, and which of them an encoder gives vectors of their own.

    Training such an encoder finds it out. With its folder the findings are written to the graph, in place of those of
    another encoder: `confounding`, `confounding_chosen`, `mismatch` and `drop_in_loss` of `Entity`. Run it again after
    an ingest that brought entities back.

    Example: `skugraph confounding models/ei && skugraph cypher "MATCH (e:Brand) WHERE e.confounding_chosen RETURN
    e.text, e.confounding ORDER BY e.confounding DESC"`
    """
    from api.confounding import write_findings
    from kg.confounding import extremes, scored
    from kg.stores import open_stores

    with open_stores(open_settings(home, filled=True)) as stores:
        written = write_findings(stores, encoder) if encoder is not None else None
        found = scored(stores.graph)
    ends = extremes(found, k)

    def page() -> None:
        if not found:
            say("no entity has a score yet: `skugraph train ei_clip` finds them, `skugraph confounding DIR` keeps them")
            return
        if written is not None:
            left = f", {written.unknown:,} are not in the graph" if written.unknown else ""
            say(f"{written.written:,} entities have findings of {encoder}{left}")
        for kind, (most, least) in ends.items():
            say(f"{kind}: {sum(one.chosen for one in found if one.type == kind):,} chosen", style="bold")
            table(("entity", "confounding", "mismatch", "drop in loss", "products", "chosen"), _rows(most, least))

    document = {
        "encoder": str(encoder) if encoder is not None else None,
        "fingerprint": found[0].by if found else None,
        "entities": len(found),
        "chosen": sum(one.chosen for one in found),
        "unknown": written.unknown if written else 0,
        "types": {
            kind: {"most": [_shown(one) for one in most], "least": [_shown(one) for one in least]}
            for kind, (most, least) in ends.items()
        },
    }
    emit(document, as_json, page)


def _rows(most: list[ScoredEntity], least: list[ScoredEntity]) -> list[tuple[object, ...]]:
    between: list[tuple[object, ...]] = [("…", "", "", "", "", "")] if least else []
    rows = [
        (one.text, _figure(one.confounding), _figure(one.mismatch), _figure(one.drop_in_loss), one.df,
         "yes" if one.chosen else "")
        for one in (*most, *reversed(least))
    ]  # fmt: skip
    return [*rows[: len(most)], *between, *rows[len(most) :]]


def _figure(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _shown(one: ScoredEntity) -> dict[str, object]:
    from dataclasses import asdict

    return {name: value for name, value in asdict(one).items() if name not in ("by", "type")}
