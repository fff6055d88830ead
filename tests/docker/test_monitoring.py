"""Alert rules and dashboard name metrics that there are, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

import api.metrics
import workers.metrics

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
NAME = re.compile(r"\bskugraph_[a-z0-9_]+")
PARTS = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
GIVEN = {"job", "instance", "le"}  # by Prometheus itself


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DOCKER / "prometheus/alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return dict(json.loads((DOCKER / "grafana/dashboard.json").read_text("utf-8")))


def expressions() -> list[Any]:
    found = [pytest.param(rule["expr"], id=rule["alert"]) for rule in rules()]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            found.append(pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}"))
    return found


def known() -> dict[str, set[str]]:
    """Names of time series → their labels."""
    found = {}
    for module in (api.metrics, workers.metrics):
        for name in module.__all__:
            metric = getattr(module, name)
            if hasattr(metric, "describe"):
                [family] = metric.describe()
                found |= {family.name + part: set(metric._labelnames) for part in PARTS[family.type]}
    return found


def test_there_are_metrics_and_they_are_registered() -> None:
    assert "skugraph_search_seconds_bucket" in known()
    assert "skugraph_worker_vectors_total" in known()
    registered = {family.name for family in REGISTRY.collect()}
    assert {re.sub("_(total|bucket|count|sum)$", "", name) for name in known()} <= registered


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_an_expression_exists(expression: str) -> None:
    names = set(NAME.findall(expression)) - {"skugraph_api"}
    assert names <= set(known())
    assert names or "up{" in expression
    labels = {label for name in names for label in known()[name]} | GIVEN
    for clause in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression):
        assert {label.strip() for label in clause.split(",")} <= labels
    for name, matchers in re.findall(r"\b([a-z_]+)\{([^}]*)\}", expression):
        used = {re.split(r"[=!~]", one)[0].strip() for one in matchers.split(",")}
        assert used <= known().get(name, GIVEN), f"{name}{{{matchers}}}"
    assert expression.count("(") == expression.count(")")


def test_every_alert_says_what_and_how_bad() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"]["summary"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))


def test_every_alert_is_explained() -> None:
    page = (ROOT / "docs/how-to/watching.md").read_text("utf-8")
    assert set(re.findall(r"(?m)^\| `([A-Z]\w+)`", page)) == {rule["alert"] for rule in rules()}


def test_jobs_of_the_rules_are_those_that_prometheus_scrapes() -> None:
    config = yaml.safe_load((DOCKER / "prometheus/prometheus.yaml").read_text("utf-8"))
    jobs = {job["job_name"] for job in config["scrape_configs"]}
    text = (DOCKER / "prometheus/alerts.yaml").read_text("utf-8") + json.dumps(dashboard()).replace('\\"', '"')
    assert set(re.findall(r'job="([^"]+)"', text)) == jobs
    assert [(DOCKER / "prometheus" / name).is_file() for name in config["rule_files"]] == [True]
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))["services"]
    named = {name for job in config["scrape_configs"] for sd in job.get("dns_sd_configs", []) for name in sd["names"]}
    assert named <= set(services)
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["api:8765"]


def test_panels_are_whole_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${source}"
            assert panel["targets"]
