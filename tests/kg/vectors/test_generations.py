from __future__ import annotations

import pytest

from kg.errors import BadInput, EncoderMismatch, NotFound
from kg.graph.cypher.generations import GENERATION_ADVANCE, GENERATION_STATE
from kg.stores import Stores
from kg.vectors import generations, switching
from tests.shop import put

PRINT = "0123456789abcdef"


def register(stores: Stores, fingerprint: str = PRINT, *, dim: int = 8) -> generations.Generation:
    kinds = ("image", "text")
    return generations.register(
        stores, encoder="tiny", fingerprint=fingerprint, encoder_path="/models/tiny", dim=dim, kinds=kinds
    )


def complete(stores: Stores, generation: str) -> None:
    assert stores.graph.write(GENERATION_STATE, id=generation, before="building", after="shadow", now=0)


def test_register_is_idempotent_and_makes_the_collections(stores: Stores) -> None:
    made = register(stores)
    assert (made.id, made.state, made.cursor, made.kinds) == ("g0123456789", "building", 0, ("image", "text"))
    assert register(stores) == made
    assert generations.listing(stores) == [made]
    assert stores.vectors.collections() == ["skugraph_g0123456789_image", "skugraph_g0123456789_text"]
    with pytest.raises(EncoderMismatch, match=r"with 8 dimensions, not to .* with 16"):
        register(stores, dim=16)


def test_a_checkpoint_that_moved_is_the_same_generation(stores: Stores) -> None:
    register(stores)
    moved = generations.register(
        stores, encoder="tiny", fingerprint=PRINT, encoder_path="/elsewhere", dim=8, kinds=("image", "text")
    )
    assert generations.listing(stores) == [moved]
    assert moved.encoder_path == "/elsewhere"


def test_lost_collections_are_made_and_filled_from_the_first_change(stores: Stores) -> None:
    made = register(stores)
    advance = {"id": made.id, "before": 0, "after": 5, "now": 0}
    assert stores.graph.write(GENERATION_ADVANCE, **advance)
    assert register(stores).cursor == 5
    complete(stores, made.id)
    stores.vectors.drop(f"skugraph_{made.id}_text")
    again = register(stores)
    assert (again.state, again.cursor) == ("building", 0), "it is no longer complete"
    complete(stores, made.id)
    switching.promote(stores, made.id)
    assert stores.graph.write(GENERATION_ADVANCE, **advance)
    stores.vectors.drop(f"skugraph_{made.id}_text")
    again = register(stores)
    assert (again.state, again.cursor) == ("live", 0)
    assert len(stores.vectors.collections()) == 2


def test_other_kinds_of_vectors_are_another_life(stores: Stores) -> None:
    made = register(stores)

    def other() -> generations.Generation:
        return generations.register(
            stores, encoder="tiny", fingerprint=PRINT, encoder_path="/models/tiny", dim=8, kinds=("fused", "image")
        )

    with pytest.raises(BadInput, match=r"keeps the vectors image, text, and embed_kinds = fused, image.*retire"):
        other()
    switching.retire(stores, made.id)
    assert other().kinds == ("fused", "image")
    assert stores.vectors.collections() == [f"skugraph_{made.id}_fused", f"skugraph_{made.id}_image"]


def test_promote_flips_what_is_live(stores: Stores) -> None:
    assert generations.live(stores) is None
    first, second = register(stores).id, register(stores, "fedcba9876543210").id
    with pytest.raises(BadInput, match="still building"):
        switching.promote(stores, first)
    for name in (first, second):
        complete(stores, name)
        assert switching.promote(stores, name).state == "live"
        assert generations.live(stores) == generations.get(stores, name)
    assert {g.id: g.state for g in generations.listing(stores)} == {first: "shadow", second: "live"}
    with pytest.raises(NotFound, match="gnope"):
        switching.promote(stores, "gnope")


def test_the_alias_decides_even_where_the_graph_was_not_told(stores: Stores) -> None:
    first, second = register(stores).id, register(stores, "fedcba9876543210").id
    for name in (first, second):
        complete(stores, name)
    switching.promote(stores, first)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{second}_image")
    live = generations.live(stores)
    assert live is not None
    assert live.id == second
    assert {g.id: g.state for g in generations.listing(stores)} == {first: "shadow", second: "live"}


def test_cursor_moves_by_compare_and_set(stores: Stores) -> None:
    name = register(stores).id
    advance = {"id": name, "now": 0}
    assert stores.graph.write(GENERATION_ADVANCE, before=0, after=5, **advance)
    assert not stores.graph.write(GENERATION_ADVANCE, before=0, after=7, **advance)
    assert generations.get(stores, name).cursor == 5


def test_stale_counts_what_the_cursor_has_not_reached(stores: Stores) -> None:
    made = register(stores)
    assert generations.stale(stores, made) == 0
    for n in range(3):
        put(stores.graph, f"p{n}")
    assert generations.stale(stores, made) == 3
