"""The compose files and the Dockerfile, without an engine: the schema, and that what they name exists."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import ComposeSpecification, Service
from packaging.requirements import Requirement

from api.routes.generations import query_file
from kg.home import Home
from kg.settings import Settings, load_settings
from workers.app import is_rabbitmq

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = ("compose.yaml", "watch.yaml", "rabbitmq.yaml")
VARIANTS = [pytest.param(name, id=f"for-{name}") for name in ("cpu", "gpu")]  # an id `gpu` would count as that tier
VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?P<rule>:[?-])?(?P<rest>[^}]*)\}")
SECRET = re.compile(r"(PASSWORD|TOKEN|AUTH|SECRET|LOGIN)S?(_KEY|_ACCESS_KEY)?$|_(USER|KEY_ID)$")
FLAGS = {
    "COMMON_SECURITY_AUTHORIZATIONENABLED",
    "SKUGRAPH_GRAPH_USER",
    "RABBITMQ_DEFAULT_USER",
}  # of these names, and no secrets


@cache
def compose(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / name).read_text("utf-8")))


def whole(name: str) -> dict[str, Any]:
    """The services of a file; not what it only adds to those of another."""
    return {one: service for one, service in compose(name)["services"].items() if "image" in service}


def services() -> list[Any]:
    return [
        pytest.param(service, id=f"{name}-{service_name}")
        for name in FILES
        for service_name, service in whole(name).items()
    ]


def ours() -> list[Any]:
    return [param for param in services() if "build" in param.values[0]]


@cache
def dockerfile() -> list[tuple[str, str]]:
    """Instructions with what follows them, lines put together."""
    text = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text("utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def locked(variant: str) -> dict[str, str]:
    """Package → version."""
    text = (DOCKER / f"requirements-{variant}.lock").read_text("utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)(?:\[[^]]*\])?==([^ \\]+)", text))


@pytest.mark.parametrize("service", [{"imagee": "x"}, {"ports": 5}, {"healthcheck": {"interval": []}}])
def test_the_specification_is_one_that_refuses(service: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(service))):
        validate({"services": {"api": service}})


def validate(document: dict[str, Any]) -> None:
    """Raises ValueError for a value of another kind, or a key of a service that the specification has not."""
    ComposeSpecification.model_validate(document)
    known = {field.alias or name for name, field in Service.model_fields.items()}
    for name, service in document["services"].items():
        if strange := [key for key in service if key not in known and not key.startswith("x-")]:
            raise ValueError(f"{name}: {', '.join(strange)}")


@pytest.mark.parametrize("name", FILES)
def test_compose_files_keep_to_the_specification(name: str) -> None:
    validate(compose(name))


@pytest.mark.parametrize("service", services())
def test_every_service_is_healthy_limited_and_pinned(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    once = service["restart"].startswith("on-failure")
    assert service["healthcheck"] == {"disable": True} if once else service["healthcheck"]["test"][0].startswith("CMD")
    tag = service["image"].rpartition(":")[2]
    assert "/" not in tag
    assert tag not in ("", "latest", "stable", "main")
    assert "build" in service or re.search(r"\d+\.\d+|\d{4}-\d{2}", tag), "a tag that stays"
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")


@pytest.mark.parametrize("service", ours())
def test_our_services_write_nowhere_but_into_volumes(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("service", services())
def test_dependencies_volumes_and_networks_exist(service: dict[str, Any]) -> None:
    every = {name: value for file in FILES for name, value in whole(file).items()}
    for name, how in service.get("depends_on", {}).items():
        ends = every[name]["restart"].startswith("on-failure")
        assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
    named = {
        key: {n for file in FILES for n in compose(file).get(key, {})} for key in ("volumes", "networks", "secrets")
    }
    assert set(service["networks"]) <= named["networks"]
    assert set(service.get("secrets", [])) <= named["secrets"]
    for volume in service.get("volumes", []):
        source = volume.split(":")[0] if not volume.startswith("${") else ""
        assert not source or source in named["volumes"] or (DOCKER / source).exists(), volume


@pytest.mark.parametrize("worker", ["worker", "worker-gpu"])
def test_what_the_api_names_by_file_workers_find_under_the_same_path(worker: str) -> None:
    """Checkpoints, and queries with their judgements and gates: jobs hold their paths."""
    known = compose("compose.yaml")["services"]
    at = {name: set(known[name]["volumes"]) for name in ("api", worker)}
    home = Home(Path("/var/lib/skugraph"))
    for path in (home.models, query_file(home, "q.tsv").parent):
        [volume] = [one for one in at["api"] if one.endswith(f":{path}")]
        assert volume in at[worker]
        made = " ".join(rest for word, rest in dockerfile() if word == "RUN")
        assert re.search(rf"install -d -o 10001 .*{path}(\s|$)", made), "an empty volume takes its owner from the image"


@pytest.mark.parametrize("service", services())
def test_only_the_machine_itself_is_let_in(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        assert re.match(r"\$\{[A-Z]+_PUBLISH:-127\.0\.0\.1:\d+\}:\d+$", port), "whoever publishes more says so"
        assert "front" in service["networks"], "an internal network publishes nothing"


@pytest.mark.parametrize("service", services())
def test_no_secret_is_written_down_or_has_a_default(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        variables = list(VARIABLE.finditer(str(value)))
        if SECRET.search(name) and name not in FLAGS:
            assert variables, f"{name} = {value!r}"
        for found in variables:
            if SECRET.search(found[1]):
                assert found["rule"] == ":?", f"{found[1]} must be required"
                assert found["rest"], "and say where to set it"
        for url in re.findall(r"://([^/@]*)@", str(value)):
            assert VARIABLE.search(url), f"{name}: a password in the address"


@pytest.mark.parametrize("service", ours())
def test_every_variable_of_ours_is_a_setting_and_is_taken(
    service: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {name: value for name, value in service["environment"].items() if name.startswith("SKUGRAPH_")}
    assert {name.removeprefix("SKUGRAPH_").lower() for name in given} <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, VARIABLE.sub(lambda m: m["rest"] if m["rule"] == ":-" else "secret", str(value)))
    settings = load_settings(home=tmp_path)
    assert settings.graph_uri == "bolt://neo4j:7687"
    assert settings.vectors_token.get_secret_value() == "root:secret"
    assert settings.broker_url == "redis://:secret@redis:6379/0"


def test_with_rabbitmq_all_who_ask_a_broker_ask_that_one(tmp_path: Path) -> None:
    usual, added = compose("compose.yaml")["services"], compose("rabbitmq.yaml")["services"]
    asking = {
        name for name, service in usual.items() if "build" in service and "redis" in service.get("depends_on", {})
    }
    assert set(added) - {"rabbitmq"} == asking
    for name in asking:
        [(variable, url)] = added[name]["environment"].items()
        assert variable in usual[name]["environment"]
        settings = load_settings(home=tmp_path, broker_url=VARIABLE.sub("secret", url))
        assert is_rabbitmq(settings)
        assert settings.broker_url == "amqp://skugraph:secret@rabbitmq:5672//"


def test_the_queues_of_the_workers_cover_all() -> None:
    queues = compose("compose.yaml")["services"]["worker"]["environment"]["SKUGRAPH_WORKER_QUEUES"]
    default = VARIABLE.search(queues)
    assert default is not None
    assert json.loads(default["rest"]) == list(Settings.model_fields["worker_queues"].default)


def test_the_example_names_every_variable_and_gives_no_secret() -> None:
    text = (DOCKER / ".env.example").read_text("utf-8")
    example = dict(re.findall(r"(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$", text))
    used = {m[1]: m for file in FILES for m in VARIABLE.finditer((DOCKER / file).read_text("utf-8"))}
    assert set(example) == set(used)
    for name, found in used.items():
        if found["rule"] == ":?":
            assert example[name] == "", f"{name} has to be filled in"
        if name == "CPU_WORKER_QUEUES" or not example[name]:
            continue
        assert example[name] == found["rest"], "the example shows the default"


@pytest.mark.parametrize("service", ours())
def test_build_paths_and_targets_exist(service: dict[str, Any]) -> None:
    build = service["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    stages = [rest.partition(" AS ")[2] for word, rest in dockerfile() if word == "FROM"]
    assert build["target"] in stages
    arguments = {rest.partition("=")[0] for word, rest in dockerfile() if word == "ARG"}
    assert set(build.get("args", {})) <= arguments


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_images_copy_is_there_and_not_ignored(variant: str) -> None:
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    for rest in (rest for word, rest in dockerfile() if word == "COPY" and not rest.startswith("--from")):
        *sources, _ = rest.replace("${VARIANT}", variant).split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(Path(source).match(pattern) for pattern in kept), f"{source} is ignored"


def test_the_packages_are_those_of_the_project() -> None:
    copied = {rest.split()[0] for word, rest in dockerfile() if word == "COPY"}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    [packages] = re.findall(r"packages.find.include = \[(.*)\]", project)
    assert {name.strip('" *') for name in packages.split(",")} <= copied


def test_images_run_as_nobody_special_from_a_pinned_base() -> None:
    words = [word for word, _ in dockerfile()]
    user = next(rest for word, rest in dockerfile() if word == "USER")
    assert int(user.partition(":")[0]) > 1000
    assert words.index("USER") < words.index("CMD")
    [base] = [rest for word, rest in dockerfile() if word == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"PYTHON=\d+\.\d+\.\d+-slim-\w+", base)
    assert not [rest for word, rest in dockerfile() if word == "ADD" or (word == "COPY" and ".env" in rest)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_lock_satisfies_the_project(variant: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    versions = locked(variant)
    extras = ("encoders", "offline", "chinese", "fast", "redis", "otel", "flower")
    wanted = [*project["dependencies"], *(r for extra in extras for r in project["optional-dependencies"][extra])]
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if variant == "cpu" and name == "torch":
            continue  # from another index: see docker/lock.py
        assert requirement.specifier.contains(versions[name]), f"{requirement}: run `make lock`"


def test_both_variants_hold_the_same_versions() -> None:
    cpu, gpu = locked("cpu"), locked("gpu")
    assert {name: gpu[name] for name in cpu} == cpu
    assert "torch" not in cpu
    assert f"TORCH={gpu['torch']}" in {rest for word, rest in dockerfile() if word == "ARG"}
    assert {name for name in set(gpu) - set(cpu) if not name.startswith(("nvidia-", "cuda-"))} == {"torch", "triton"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_package_of_the_lock_has_a_hash(variant: str) -> None:
    text = (DOCKER / f"requirements-{variant}.lock").read_text("utf-8")
    entries = [entry for entry in re.split(r"(?m)^(?=[a-z0-9])", text) if "==" in entry]
    assert len(entries) > 50
    assert [entry.partition("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []
