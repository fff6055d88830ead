"""`skugraph instances`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from api.cli.asking import (
    BrandOption,
    CategoryOption,
    CypherOption,
    EntityOption,
    FilterOption,
    HopsOption,
    MaxPriceOption,
    MinPriceOption,
    MinWeightOption,
    NearOption,
    SellerOption,
    filters_of,
    given,
    print_hit,
    read_image,
)
from api.cli.common import HomeOption, JsonOption, emit, open_settings, say

__all__ = ["instances", "print_instances"]


def instances(
    image: Annotated[Path, typer.Option("--image", metavar="FILE", help="A picture with several products")],
    text: Annotated[str, typer.Argument(help="What it says, added to the question of each instance")] = "",
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="x1,y1,x2,y2", help="Where a product is, in pixels; again for each of several"),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Products wanted for each instance")] = 5,
    limit: Annotated[int | None, typer.Option("--limit", help="Regions proposed, at most (default 12)")] = None,
    min_score: Annotated[
        float | None, typer.Option("--min-score", help="Smallest score of the detector, 0 to 1 (default 0.2)")
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option("--overlap", help="Share in common above which regions of one product are one (default 0.6)"),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option("--merge", metavar="METHOD", help="round_robin (default), max_score or mean_top: the one list"),
    ] = None,
    merged_k: Annotated[
        int | None, typer.Option("--merged-k", help="Products wanted in the merged list (default 20)")
    ] = None,
    brand: BrandOption = None,
    category: CategoryOption = None,
    entity: EntityOption = None,
    near: NearOption = None,
    hops: HopsOption = None,
    min_weight: MinWeightOption = None,
    min_price: MinPriceOption = None,
    max_price: MaxPriceOption = None,
    seller: SellerOption = None,
    cypher: CypherOption = None,
    filter: FilterOption = None,
    draw: Annotated[
        Path | None, typer.Option("--draw", metavar="OUT.png", help="Write the picture with its numbered boxes")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the products in a picture: each with its box and the listings it may be, then one merged list.

    The encoder's detector proposes where products are; with --box they are where you say. Pixels are those of the
    picture as it is seen, turned as the camera noted; --draw shows which number is which box.

    Example: `skugraph instances --image shelf.jpg --draw found.png -k 3`

    Example: `skugraph instances --image shelf.jpg --box 10,20,110,220 --max-price 20 --merge max_score`
    """
    from api.client import ask_instances
    from api.instance_models import InstancesRequest

    filters = {
        "brand": brand, "category": category, "entity": entity, "near": near, "hops": hops, "min_weight": min_weight,
        "min_price": min_price, "max_price": max_price, "seller": seller, "cypher": cypher,
    }  # fmt: skip
    fields: dict[str, Any] = {"text": text, "k": k, "filters": filters_of(filters, filter), "image": read_image(image)}
    fields |= given({"limit": limit, "min_score": min_score, "overlap": overlap, "merge": merge, "merged_k": merged_k})
    if box:
        fields["boxes"] = [_corners(one) for one in box]
    if draw:
        _check_drawable(draw)
    request = InstancesRequest.model_validate(fields)
    settings = open_settings(home, filled=True)
    reply = ask_instances(settings, request)
    if draw:
        _write(draw, fields["image"], reply)
    emit(reply.model_dump(mode="json"), as_json, lambda: print_instances(reply, drawn=draw))


def print_instances(reply: Any, *, drawn: Path | None = None) -> None:
    """A reply for people."""
    for instance in reply.instances:
        corners = ", ".join(f"{value:g}" for value in instance.box)
        score = "" if instance.score is None else f"  score {instance.score:.2f}"
        say(f"[{instance.number}] {corners}{score}", style="bold cyan")
        for hit in instance.hits:
            print_hit(hit)
    if len(reply.instances) > 1:
        say(f"together, {reply.merge}:", style="bold cyan")
        for hit in reply.merged:
            say(f"{hit.rank:3}. [{hit.instance}] {hit.product.title}  ({hit.product.id})")
    for note in reply.notes:
        say(f"note: {note}", style="yellow")
    if drawn:
        say(f"boxes drawn in {drawn}")
    exact = ", exact" if reply.exact else ""
    count, total = len(reply.instances), reply.timings_ms["total"]
    found = f"{count} instance{'' if count == 1 else 's'} in {reply.width} x {reply.height} pixels"
    say(f"{found}, plan {reply.plan}{exact}, {total:.0f} ms", style="dim")


def _corners(text: str) -> list[float]:
    from kg.errors import BadInput

    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != 4:
        raise BadInput(f"--box {text!r}: give it as x1,y1,x2,y2 in pixels")
    return found


def _check_drawable(path: Path) -> None:
    from PIL import Image

    from kg.errors import BadInput

    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise BadInput(f"--draw {path}: pictures are not written as {path.suffix or 'a file without suffix'!r}")


def _write(path: Path, data: bytes, reply: Any) -> None:
    from api.drawing import draw_boxes
    from kg.catalogue.pictures import decode
    from kg.errors import BadInput

    picture = decode(data, name=str(path), max_pixels=reply.width * reply.height)
    drawn = draw_boxes(picture, [(instance.number, instance.box) for instance in reply.instances])
    try:
        drawn.save(path)
    except (OSError, ValueError) as error:  # ValueError: a format that does not hold pictures of this size
        raise BadInput(f"--draw {path}: {getattr(error, 'strerror', None) or error}") from error
