"""A product: its record, the offers of the very same product, its pictures."""

from __future__ import annotations

import io
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from PIL import Image
from pydantic import BaseModel, Field

from api.backend import Backend
from api.needs import Read, UseBackend
from api.offer_models import OffersReply, SortBy
from api.offers import compare
from kg.errors import NotFound
from kg.graph.cypher import browse
from kg.records import Box
from kg.stores import Stores

__all__ = ["router"]

Width = Annotated[int, Query(ge=16, le=4096, description="Longest side in pixels; never enlarged")]

router = APIRouter(prefix="/v1/products", tags=["products"])


class ProductEntity(BaseModel):
    key: str
    type: str
    text: str
    source: str = Field(description="`field` or `caption`")
    weight: float | None = None


class ProductPicture(BaseModel):
    instance_id: str
    href: str = Field(description="Where its bytes are served")
    width: int
    height: int
    box: Box | None = Field(description="Pixels of the whole picture; none: all of it")


class ProductReply(BaseModel):
    id: str
    title: str
    description: str = ""
    url: str = ""
    seller: str = ""
    price: float | None = None
    currency: str = ""
    identity: str = Field("", description="Joins the listings of the very same product")
    updated_at: str | None = None
    revision: int
    brand: str = ""
    category: tuple[str, ...] = Field((), description="From the root down")
    entities: tuple[ProductEntity, ...] = ()
    pictures: tuple[ProductPicture, ...] = ()


def product_row(stores: Stores, id: str) -> dict[str, Any]:
    """The row of a product without its empty fields.

    Raises:
        NotFound: no product has this id.
    """
    rows = stores.graph.read(browse.PRODUCT, id=id)
    if not rows:
        raise NotFound(f"product {id!r} does not exist")
    return {name: value for name, value in rows[0].items() if value is not None}


@router.get("/{id:path}/offers", dependencies=[Read])
def offers(
    id: str,
    server: UseBackend,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    by: Annotated[SortBy, Query(description="Order inside a group of one currency")] = "price",
    found: Annotated[bool, Query(description="Also look for listings that nothing joins")] = True,
) -> OffersReply:
    """Who sells the very same product, and for how much, a unit price where the pack size is known.

    Certain are listings that SAME_AS joins; others are found by their vectors, from the score on that
    `skugraph calibrate-offers` chose for the live generation.
    """
    return compare(server.stores, id, by=by, limit=limit, found=found)


@router.get("/{id:path}/picture", response_class=Response, dependencies=[Read])
def first_picture(id: str, request: Request, server: UseBackend, width: Width = 1024) -> Response:
    """The first picture of a product, whole, as JPEG."""
    rows = server.stores.graph.read(browse.PRODUCT_PICTURES, id=id)
    if not rows:
        raise NotFound(f"product {id!r} does not exist, or has no picture")
    return _jpeg(rows[0], width, request, server)


@router.get("/{id:path}/pictures/{number}", response_class=Response, dependencies=[Read])
def picture(id: str, number: int, request: Request, server: UseBackend, width: Width = 1024) -> Response:
    """The whole picture of the instance `<id>#img<number>`, as JPEG."""
    rows = server.stores.graph.read(browse.PICTURE, instance_id=f"{id}#img{number}")
    if not rows:
        raise NotFound(f"product {id!r} has no picture {number}")
    return _jpeg(rows[0], width, request, server)


def _jpeg(row: dict[str, Any], width: int, request: Request, server: Backend) -> Response:
    """The picture of a row (uri, image_id), made smaller to fit; nothing but the headers where the client has it."""
    tag = f'"{row["image_id"][:32]}-{width}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    image = server.pictures.open(row["uri"])
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=85)
    return Response(data.getvalue(), media_type="image/jpeg", headers=headers)


@router.get("/{id:path}", dependencies=[Read])
def product(id: str, server: UseBackend) -> ProductReply:
    """A product with its entities and pictures."""
    stores = server.stores
    row = product_row(stores, id)
    pictures = []
    for found in stores.graph.read(browse.PRODUCT_PICTURES, id=id):
        number = found["instance_id"].rpartition("#img")[2]
        pictures.append(
            ProductPicture(
                instance_id=found["instance_id"],
                href=f"/v1/products/{quote(id)}/pictures/{number}",
                width=found["width"] or 0,
                height=found["height"] or 0,
                box=tuple(found["box"]) if found["box"] else None,
            )
        )
    entities = [ProductEntity(**found) for found in stores.graph.read(browse.PRODUCT_ENTITIES, id=id)]
    return ProductReply(**row, entities=tuple(entities), pictures=tuple(pictures))
