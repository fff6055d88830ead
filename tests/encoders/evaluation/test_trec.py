from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from encoders.evaluation.trec import Query, judge, read_qrels, read_queries, read_run, write_run
from kg.errors import BadInput

GRADES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 2), min_size=1)
SCORES = st.dictionaries(st.sampled_from("abcdefghijkl"), st.integers(-3, 3).map(float), min_size=1)
NAMES = {"R@5": "recall_5", "R@10": "recall_10", "mAP@10": "map_cut_10", "nDCG@5": "ndcg_cut_5", "hit@1": "success_1",
         "hit@10": "success_10", "MRR": "recip_rank", "mAP": "map"}  # fmt: skip


@given(st.dictionaries(st.sampled_from(["q1", "q2", "q3"]), st.tuples(GRADES, SCORES), min_size=1))
def test_judges_as_trec_eval_does_ties_included(world: dict[str, tuple[dict[str, int], dict[str, float]]]) -> None:
    qrels = {query: {p: min(grade, 1) for p, grade in grades.items()} for query, (grades, _) in world.items()}
    run = {query: scores for query, (_, scores) in world.items()}
    wanted = {query: grades for query, grades in qrels.items() if any(grades.values())}
    if not wanted:
        with pytest.raises(BadInput, match="nothing relevant"):
            judge(qrels, run)
        return
    theirs = pytrec_eval.RelevanceEvaluator(wanted, set(NAMES.values())).evaluate(run)
    ours = judge(qrels, run)
    for name, theirs_name in NAMES.items():
        assert ours[name] == pytest.approx(np.mean([values[theirs_name] for values in theirs.values()])), name


def test_a_query_that_the_run_lacks_scores_nothing() -> None:
    qrels = {"a": {"x": 1}, "b": {"x": 1}, "unjudged": {"x": 0}}
    assert judge(qrels, {"a": {"x": 1.0}})["R@1"] == 0.5
    assert judge(qrels, {})["MRR"] == 0


@given(run=st.dictionaries(st.sampled_from(["q1", "q2", "名"]), SCORES, min_size=1))
def test_a_run_read_back_is_the_run(run: dict[str, dict[str, float]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "run.txt"
    write_run(path, run, tag="t")
    assert read_run(path) == run
    ranks = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    assert all(row[1] == "Q0" and row[5] == "t" for row in ranks)
    for query in run:
        mine = [(int(row[3]), float(row[4])) for row in ranks if row[0] == query]
        assert [rank for rank, _ in mine] == list(range(1, len(mine) + 1))
        assert [score for _, score in mine] == sorted((score for _, score in mine), reverse=True)


def test_ids_with_white_space_have_no_place_in_a_run(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'a b'"):
        write_run(tmp_path / "run.txt", {"q": {"a b": 1.0}})


def test_queries_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(
        '{"id": "1", "image": "q/1.jpg", "identity": "x"}\n\n{"id": 2, "text": "red shoe"}\n'
    )
    assert read_queries(tmp_path / "q.jsonl") == [Query("1", "", tmp_path / "q/1.jpg"), Query("2", "red shoe")]
    (tmp_path / "q.tsv").write_text("1\tred shoe\n2\tblue\tshoe\n")
    assert read_queries(tmp_path / "q.tsv") == [Query("1", "red shoe"), Query("2", "blue\tshoe")]


def test_qrels(tmp_path: Path) -> None:
    (tmp_path / "qrels").write_text("1 0 a 1\n1\t0\tb\t0\n2 0 a 2\n")
    assert read_qrels(tmp_path / "qrels") == {"1": {"a": 1, "b": 0}, "2": {"a": 2}}


@pytest.mark.parametrize(
    ("read", "name", "text", "words"),
    [
        (read_qrels, "x", "1 0 a\n", r":1: `query 0 product grade`"),
        (read_qrels, "x", "1 0 a yes\n", "yes"),
        (read_run, "x", "1 Q0 a 1 0.5 t\n1 Q0 a\n", ":2: `query Q0"),
        (read_run, "x", "1 Q0 a 1 nan t\n", "nan"),
        (read_run, "x", "1 Q0 a 1 0.5 t\n1 Q0 b 2 0.4 t\n1 Q0 a 3 0.1 t\n", ":3: query '1' has product 'a' twice"),
        (read_queries, "x.jsonl", "{", "not a JSON object"),
        (read_queries, "x.jsonl", "[]", "not a JSON object"),
        (read_queries, "x.jsonl", '{"id": "1"}', "a text or a picture"),
        (read_queries, "x.tsv", "1\ta\n1\tb\n", "'1' comes twice"),
        (read_queries, "x.tsv", "1\n", "a text or a picture"),
    ],
)
def test_broken_files_name_their_line(
    read: Callable[[Path], object], name: str, text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [read_qrels, read_queries, read_run])
def test_files_that_cannot_be_read(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no file at"):
        read(tmp_path / "nowhere")
    (tmp_path / "latin").write_bytes(b"1 0 caf\xe9 1\n")
    with pytest.raises(BadInput, match="not UTF-8"):
        read(tmp_path / "latin")
