"""Promote, roll back, retire: with guards and gates, on both graph engines; a crash between alias and graph heals."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kg.errors import BadInput, GateClosed, JobError, NotFound, SkugraphError
from kg.gates import load_gates
from kg.graph.cypher.generations import GENERATION_COMING, GENERATION_COMING_SET, GENERATION_EVALUATED
from kg.stores import Stores
from kg.vectors import generations, switching
from kg.vectors.events import events
from kg.vectors.states import TRANSITIONS, check, move
from tests.kg.vectors.test_generations import complete, register
from tests.shop import put

FIRST, SECOND, THIRD = (letter * 16 for letter in "abc")


def shadow(stores: Stores, fingerprint: str) -> str:
    name = register(stores, fingerprint).id
    complete(stores, name)
    return name


def states(stores: Stores) -> dict[str, str]:
    return {one.id: one.state for one in generations.listing(stores)}


def noted(stores: Stores) -> dict[str, str]:
    return {one.id: one.state for one in generations.noted(stores)}


def gated(stores: Stores, folder: Path, **gate: Any) -> Stores:
    path = folder / "gates.json"
    path.write_text(json.dumps({"gates": [gate]}))
    settings = stores.settings.model_copy(update={"generation_gates": path})
    return Stores(settings, stores.graph, stores.vectors_uri)


def evaluated(stores: Stores, generation: str, against: str, live: float, found: float) -> None:
    gates = load_gates(stores.settings.generation_gates) if stores.settings.generation_gates else None
    one = {"scope": "overall", "group": "", "metric": "MRR", "queries": 9, "live": live, "shadow": found}
    outcome = one | {"least": live - 0.1}
    failed = [outcome] if found < live - 0.1 else []
    value = {"against": against, "gates_digest": gates.digest if gates else "", "queries": 9, "passed": not failed}
    value |= {"failed": failed, "failed_count": len(failed)}
    stores.graph.write(GENERATION_EVALUATED, id=generation, evaluation=json.dumps(value))


def test_the_table_of_states_is_all_there_is(stores: Stores) -> None:
    every = {state for pair in TRANSITIONS for state in pair}
    assert every == {"building", "shadow", "live", "retired"}
    with pytest.raises(JobError, match="is retired: from there it can become building, not live"):
        check("g1", "retired", "live")
    name = register(stores).id
    assert move(stores.graph, name, "building", "shadow")
    assert not move(stores.graph, name, "building", "shadow"), "it is that no more"


def test_promotion_notes_who_and_why_and_what_it_replaced(stores: Stores) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    switching.promote(stores, first, by="ann@desk")
    now = switching.promote(stores, second, by="bob@desk", reason="better soap")
    assert (now.state, now.previous, bool(now.live_since)) == ("live", first, True)
    assert noted(stores) == {first: "shadow", second: "live"}
    newest, oldest = events(stores)
    assert (newest.action, newest.generation, newest.other, newest.by) == ("promote", second, first, "bob@desk")
    assert (newest.reason, newest.forced, oldest.generation) == ("better soap", False, first)
    assert switching.promote(stores, second).id == second
    assert len(events(stores)) == 2, "it was live already"


def test_rollback_goes_one_step_back_and_no_farther(stores: Stores) -> None:
    first, second, third = (shadow(stores, name) for name in (FIRST, SECOND, THIRD))
    with pytest.raises(JobError, match="no generation to roll back to"):
        switching.rollback(stores)
    for name in (first, second, third):
        switching.promote(stores, name)
    assert switching.rollback(stores, by="ann", reason="odd results").id == second
    assert states(stores) == {first: "shadow", second: "live", third: "shadow"}
    with pytest.raises(JobError, match="no generation to roll back to"):
        switching.rollback(stores)
    assert [(e.action, e.generation, e.other) for e in events(stores)][:1] == [("rollback", second, third)]
    assert switching.promote(stores, third).previous == second, "and forward again"


def test_a_rollback_that_is_ordered_twice_is_done_once(stores: Stores) -> None:
    first, second, third = (shadow(stores, name) for name in (FIRST, SECOND, THIRD))
    for name in (first, second):
        switching.promote(stores, name)
    for _ in range(2):
        assert switching.rollback(stores, leaving=second).id == first
        assert generations.live_id(stores) == first
    assert [event.action for event in events(stores)].count("rollback") == 1
    switching.promote(stores, third)
    with pytest.raises(JobError, match=f"{second} was to be left, but {third} is live by now"):
        switching.rollback(stores, leaving=second)
    assert generations.live_id(stores) == third


@pytest.mark.parametrize(("coming", "previous"), [(None, "the one before"), ("", ""), ("gother", "gother")])
def test_a_flip_without_its_note_is_what_was_written_down_before(
    stores: Stores, coming: str | None, previous: str
) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    switching.promote(stores, first)
    if coming is not None:
        stores.graph.write(GENERATION_COMING_SET, id=second, previous=coming)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{second}_image")
    assert switching.settle(stores)
    assert generations.get(stores, second).previous == previous.replace("the one before", first)
    assert stores.graph.read(GENERATION_COMING, id=second) == [{"coming": None}], "it is settled, and counts no more"


def test_rollback_to_what_is_gone_or_far_behind_is_refused(stores: Stores, tmp_path: Path) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    for name in (first, second):
        switching.promote(stores, name)
    put(stores.graph, "p1")
    with pytest.raises(JobError, match=r"lacks 1 changes, and its checkpoint /models/tiny is gone"):
        switching.rollback(stores)
    stores.graph.write("MATCH (g:Generation) SET g.encoder_path = $path", path=str(tmp_path))
    few = Stores(stores.settings.model_copy(update={"rollback_max_stale": 0}), stores.graph, stores.vectors_uri)
    with pytest.raises(JobError, match=r"lacks 1 changes; a rollback takes at most 0"):
        switching.rollback(few)
    stores.vectors.drop(f"skugraph_{first}_text")
    with pytest.raises(JobError, match=f"has lost its collections skugraph_{first}_text"):
        switching.rollback(stores)
    switching.retire(stores, first, force=True, reason="room")
    with pytest.raises(JobError, match=f"{first}, live before {second}, is retired"):
        switching.rollback(stores)
    assert generations.live_id(stores) == second


def test_a_promotion_has_the_guards_of_a_rollback(stores: Stores, tmp_path: Path) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    switching.promote(stores, first)
    put(stores.graph, "p1")
    with pytest.raises(JobError, match=r"lacks 1 changes, and its checkpoint /models/tiny is gone"):
        switching.promote(stores, second, force=True, reason="now")
    stores.graph.write("MATCH (g:Generation) SET g.encoder_path = $path", path=str(tmp_path))
    few = Stores(stores.settings.model_copy(update={"rollback_max_stale": 0}), stores.graph, stores.vectors_uri)
    with pytest.raises(JobError, match=r"lacks 1 changes; a promotion takes at most 0"):
        switching.promote(few, second)
    stores.vectors.drop(f"skugraph_{second}_text")
    with pytest.raises(JobError, match=f"{second} has lost its collections skugraph_{second}_text"):
        switching.promote(stores, second)
    assert generations.live_id(stores) == first


def test_where_nothing_is_live_the_first_may_lack_any_number_of_changes(stores: Stores, tmp_path: Path) -> None:
    first = shadow(stores, FIRST)
    put(stores.graph, "p1")
    stores.graph.write("MATCH (g:Generation) SET g.encoder_path = $path", path=str(tmp_path))
    few = Stores(stores.settings.model_copy(update={"rollback_max_stale": 0}), stores.graph, stores.vectors_uri)
    assert switching.promote(few, first).state == "live"


def test_an_alias_that_another_has_restored_is_left_alone(stores: Stores) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    switching.promote(stores, first)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{second}_image")
    assert switching.restore(stores, first), "it was lost when somebody looked, and is there by now"
    assert generations.live_id(stores) == second
    stores.vectors.connection.client.drop_alias("skugraph_live")
    assert not switching.restore(stores, second), "the graph has the first one live"
    assert switching.restore(stores, first)
    assert generations.live_id(stores) == first


def test_rollback_to_one_that_is_a_little_behind(stores: Stores, tmp_path: Path) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    for name in (first, second):
        switching.promote(stores, name)
    put(stores.graph, "p1")
    stores.graph.write("MATCH (g:Generation) SET g.encoder_path = $path", path=str(tmp_path))
    assert switching.rollback(stores).id == first


def test_retire_drops_the_collections_but_never_those_in_use(stores: Stores) -> None:
    first, second, third = (shadow(stores, name) for name in (FIRST, SECOND, THIRD))
    for name in (first, second):
        switching.promote(stores, name)
    with pytest.raises(BadInput, match="is live: it cannot be retired"):
        switching.retire(stores, second, force=True, reason="x")
    with pytest.raises(BadInput, match="is what a rollback goes back to"):
        switching.retire(stores, first)
    with pytest.raises(BadInput, match="takes a reason"):
        switching.retire(stores, first, force=True)
    assert len(stores.vectors.collections()) == 6
    assert switching.retire(stores, third).state == "retired"
    assert not [name for name in stores.vectors.collections() if third in name]
    assert switching.retire(stores, third).state == "retired"
    assert switching.retire(stores, first, force=True, reason="room", by="ann").state == "retired"
    assert [(e.generation, e.forced) for e in events(stores) if e.action == "retire"] == [(first, True), (third, False)]
    assert len(stores.vectors.collections()) == 2
    with pytest.raises(NotFound):
        switching.retire(stores, "gnope")


def test_retire_waits_for_no_job(stores: Stores) -> None:
    name = register(stores, FIRST).id
    stores.graph.write("CREATE (:Job {id: 'embed-1', kind: 'embed', state: 'paused', generation: $id})", id=name)
    with pytest.raises(JobError, match="job embed-1 is paused on generation"):
        switching.retire(stores, name)
    stores.graph.write("MATCH (j:Job) SET j.state = 'cancelled'")
    assert switching.retire(stores, name).state == "retired"
    again = register(stores, FIRST)
    assert (again.state, again.cursor) == ("building", 0)
    assert len(stores.vectors.collections()) == 2


def test_the_alias_wins_after_a_crash_between_flip_and_note(stores: Stores) -> None:
    first, second = shadow(stores, FIRST), shadow(stores, SECOND)
    switching.promote(stores, first)
    assert not switching.settle(stores)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{second}_image")
    assert noted(stores) == {first: "live", second: "shadow"}
    assert switching.settle(stores)
    assert noted(stores) == {first: "shadow", second: "live"}
    assert generations.get(stores, second).previous == first, "the way back is known again"
    assert events(stores)[0].action == "repair"
    assert not switching.settle(stores)
    assert switching.rollback(stores).id == first


def test_a_flip_that_the_graph_was_not_told_of_is_noted_by_the_next_command(stores: Stores) -> None:
    first, second, third = (shadow(stores, name) for name in (FIRST, SECOND, THIRD))
    switching.promote(stores, first)
    stores.vectors.point_alias("skugraph_live", f"skugraph_{second}_image")
    assert switching.promote(stores, third).previous == second


def test_of_two_promotions_at_once_one_wins(stores: Stores) -> None:
    first, second, third = (shadow(stores, name) for name in (FIRST, SECOND, THIRD))
    switching.promote(stores, first)
    start = threading.Barrier(2)

    def promote(name: str) -> str:
        start.wait()
        try:
            return switching.promote(stores, name, replacing=first).id
        except SkugraphError as error:
            return error.message

    with ThreadPoolExecutor(2) as threads:
        said = [taken.result() for taken in [threads.submit(promote, name) for name in (second, third)]]
    won = [name for name in said if name in (second, third)]
    assert len(won) == 1, said
    assert f"was to replace {first}, but {won[0]} is live by now" in next(one for one in said if one not in won)
    assert generations.live_id(stores) == won[0]
    assert [state for state in noted(stores).values()].count("live") == 1


def test_below_a_gate_only_force_with_a_reason_promotes(stores: Stores, tmp_path: Path) -> None:
    own = gated(stores, tmp_path, metric="MRR", loss=0.1)
    first, second = shadow(own, FIRST), shadow(own, SECOND)
    switching.promote(own, first)  # nothing to be compared with
    with pytest.raises(GateClosed, match="gates are set, and it was never evaluated"):
        switching.promote(own, second)
    evaluated(own, second, first, 0.8, 0.5)
    with pytest.raises(GateClosed, match=r"MRR is 0\.5000 on 9 queries, 0\.8000 on the live .* must be 0\.7000"):
        switching.promote(own, second)
    with pytest.raises(BadInput, match="takes a reason"):
        switching.promote(own, second, force=True, reason=" ")
    assert generations.live_id(own) == first
    switching.promote(own, second, force=True, reason="the old one is wrong", by="ann")
    event = events(own, second)[0]
    assert (event.forced, event.reason, event.by) == (True, "the old one is wrong", "ann")
    assert event.figures["against"] == first
    evaluated(own, first, second, 0.5, 0.8)
    assert switching.promote(own, first).id == first
    assert not events(own, first)[0].forced


def test_an_evaluation_is_of_one_pair_and_of_these_gates(stores: Stores, tmp_path: Path) -> None:
    own = gated(stores, tmp_path, metric="MRR", loss=0.1)
    first, second, third = (shadow(own, name) for name in (FIRST, SECOND, THIRD))
    switching.promote(own, first)
    evaluated(own, second, first, 0.8, 0.8)
    evaluated(own, third, first, 0.8, 0.8)
    switching.promote(own, second)
    with pytest.raises(GateClosed, match=f"evaluated against generation {first}, and {second} is live"):
        switching.promote(own, third)
    evaluated(own, third, second, 0.8, 0.8)
    other = gated(stores, tmp_path, metric="MRR", loss=0.01)
    with pytest.raises(GateClosed, match="against other gates"):
        switching.promote(other, third)
