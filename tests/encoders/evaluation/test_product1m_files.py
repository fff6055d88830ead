"""Product1M's submissions and queries as files, there and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.evaluation.product1m import product1m
from encoders.evaluation.product1m_files import (
    gallery_labels,
    main,
    query_labels,
    read_submission,
    write_queries,
    write_submission,
)
from encoders.evaluation.trec import judge, read_qrels, read_queries, read_run, write_run
from kg.catalogue.product1m import Listing1M, write_product1m
from kg.errors import BadInput, BadRecord

QUERIES = [Listing1M("q1", "水 套装", labels=("a x", "a y", "a x")), Listing1M("q2", "霜", labels=("b z",))]
GALLERY = [Listing1M("g1", "x", labels=("a x",)), Listing1M("g2", "x", labels=("a x",)),
           Listing1M("g3", "y", labels=("a y", "b z")), Listing1M("g4", "z", labels=("b z",))]  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_product1m(tmp_path / "dev.txt", QUERIES)
    write_product1m(tmp_path / "gallery.txt", GALLERY)
    return tmp_path


def test_from_their_files_to_ours_and_back(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "out"
    options = ["--queries", str(files / "dev.txt"), "--gallery", str(files / "gallery.txt"), "--out", str(out)]
    assert main([*options, "--images", str(files / "pictures")]) == 0
    assert "2 queries, 4 judgements" in capsys.readouterr().out
    queries = read_queries(out / "queries.jsonl")
    assert [(query.id, query.text) for query in queries] == [("q1", "水 套装"), ("q2", "霜")]
    assert queries[0].image is not None
    assert queries[0].image.resolve() == files / "pictures/q1.jpg"
    qrels = read_qrels(out / "qrels.txt")
    assert qrels == {"q1": {"g1": 1, "g2": 1, "g3": 1}, "q2": {"g4": 1}}  # g3 is what its first label says

    run = {"q1": {"g3": 0.9, "g4": 0.5, "g1": 0.1}, "q2": {"g4": 0.2}}
    write_run(out / "run.txt", run)
    assert main(["--run", str(out / "run.txt"), "--submission", str(out / "sub.txt")]) == 0
    ranked = read_submission(out / "sub.txt")
    assert ranked == {"q1": ["g3", "g4", "g1"], "q2": ["g4"]}
    figures = product1m(ranked, query_labels(files / "dev.txt"), gallery_labels(files / "gallery.txt"))
    assert figures["p1m_normalised/mAP@10"] == pytest.approx(100 * ((1 + 2 / 3) / 3 + 1) / 2)
    assert judge(qrels, read_run(out / "run.txt"))["mAP"] == pytest.approx(figures["p1m_normalised/mAP@10"] / 100)


def test_a_submission_holds_a_hundred(tmp_path: Path) -> None:
    write_submission(tmp_path / "s.txt", {"q": [str(n) for n in range(150)], "r": ["1"]})
    found = read_submission(tmp_path / "s.txt")
    assert [len(items) for items in found.values()] == [100, 1]
    assert found["q"][99] == "99"


@pytest.mark.parametrize(
    "ranked",
    [{"q": []}, {"q": ["a,b"]}, {"q ": ["a"]}, {"q": ["a\n"]}, {"q": ["a\rb"]}, {"": ["a"]}, {"q": ["a", ""]}],
)
def test_what_a_submission_cannot_hold(tmp_path: Path, ranked: dict[str, list[str]]) -> None:
    with pytest.raises(BadInput, match="at least one"):
        write_submission(tmp_path / "s.txt", ranked)


@pytest.mark.parametrize(
    ("content", "says"), [(b"q,a\nr\n", "line 2"), (b"q,a,,b\n", "line 1"), (b"q,a\n\nq,b\n", "twice.*line 3"),
                          (b"\xe9,a\n", "UTF-8.*line 1")]
)  # fmt: skip
def test_broken_submissions(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(BadRecord, match=says):
        read_submission(tmp_path / "s.txt")


def test_a_byte_order_mark_is_no_part_of_a_query(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"\xef\xbb\xbfq1,a,b\r\nq2,c\r\n")
    assert read_submission(tmp_path / "s.txt") == {"q1": ["a", "b"], "q2": ["c"]}


def test_what_cannot_be_judged_is_named(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_product1m(files / "less.txt", GALLERY[:2])
    with pytest.raises(BadInput, match="'q1': label 'a y' has no item"):
        write_queries(files / "dev.txt", files / "less.txt", None, files)
    write_product1m(files / "twice.txt", [*GALLERY, GALLERY[0]])
    with pytest.raises(BadInput, match="line 5: listing g1 comes twice"):
        gallery_labels(files / "twice.txt")
    write_product1m(files / "train.txt", [Listing1M("t", "no labels")])
    with pytest.raises(BadRecord, match="line 1: listing t has no label"):
        query_labels(files / "train.txt")
    assert main(["--queries", str(files / "none.txt"), "--gallery", str(files / "gallery.txt")]) == 2
    assert "no table at" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([])
