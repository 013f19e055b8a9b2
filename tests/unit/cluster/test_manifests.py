"""The manifests of ``cluster/``: valid against the schemas of KubeRay, their commands and configs read by what they are for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from vglamm.cli import app

ROOT = Path(__file__).resolve().parents[3]
CLUSTER = ROOT / "cluster"
MANIFESTS = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in sorted(CLUSTER.glob("*.yaml"))}
RAY = {name: document for name, documents in MANIFESTS.items() for document in documents if document["apiVersion"] == "ray.io/v1"}
IMAGES = {f"vglamm:{path.suffix[1:]}": path for path in sorted(CLUSTER.glob("Dockerfile.*"))}


@cache
def schema(kind: str) -> jsonschema.Draft202012Validator:
    """What a kind of KubeRay is held to, with unknown fields refused, as `kubectl apply --validate=strict` does."""
    folder = Path(os.environ.get("KUBERAY_CRDS") or ROOT.parent / "shared" / "data" / "kuberay-crds")
    path = folder / f"ray.io_{kind.lower()}s.yaml"
    if not path.is_file():
        pytest.skip(f"got no {path.name} in {folder}; expected the CRDs of KubeRay; set KUBERAY_CRDS to their folder")
    versions = yaml.load(path.read_bytes(), yaml.CSafeLoader)["spec"]["versions"]
    (found,) = (version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1")
    found["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return jsonschema.Draft202012Validator(strict(found))


def strict(node: Any) -> Any:
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
        made |= {} if open_ended else {"additionalProperties": False}
    return made


def cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    return spec.get("rayClusterConfig") or spec.get("rayClusterSpec") or spec


def pods(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, pod) of the head and of each group of workers."""
    cluster = cluster_of(document)
    yield "head", cluster["headGroupSpec"]["template"]["spec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group["template"]["spec"]


def gpus(pod: dict[str, Any]) -> int:
    return int(pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


def commands() -> Iterator[list[str]]:
    """Every command line of vglamm in the folder."""
    for document in RAY.values():
        if "entrypoint" in document["spec"]:
            yield shlex.split(document["spec"]["entrypoint"])
    for path in IMAGES.values():
        (words,) = re.findall(r"^CMD \[(.*)\]$", path.read_text(), flags=re.MULTILINE)
        yield [word.strip(' "') for word in words.split(",")]
    for line in (CLUSTER / "README.md").read_text().splitlines():
        if line.strip().startswith("vglamm "):
            yield shlex.split(line, comments=True)


def parse(words: list[str]) -> Any:
    """The context that the real command line makes of these words, without running the command."""
    group = typer.main.get_command(app)
    with group.make_context("vglamm", ["--help"], resilient_parsing=True) as context:
        _, command, rest = group.resolve_command(context, words)
        return command.make_context(words[0], rest, parent=context)


@pytest.mark.parametrize("name", RAY)
def test_a_manifest_fits_the_schema(name: str) -> None:
    schema(RAY[name]["kind"]).validate(RAY[name])


def test_the_schema_refuses_what_it_should() -> None:
    wrong = yaml.safe_load((CLUSTER / "raycluster.yaml").read_text())
    wrong["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(jsonschema.ValidationError, match="livenesProbe"):
        schema("RayCluster").validate(wrong)


def test_there_is_one_of_each_kind() -> None:
    assert sorted((document["kind"], name) for name, document in RAY.items()) == [
        ("RayCluster", "raycluster"), ("RayJob", "rayjob-annotate"), ("RayJob", "rayjob-train"), ("RayService", "rayservice")
    ]  # fmt: skip


@pytest.mark.parametrize("name", RAY)
def test_every_pod_is_guarded_probed_and_has_its_memory(name: str) -> None:
    cluster = cluster_of(RAY[name])
    assert cluster["authOptions"]["mode"] == "token"
    for where, pod in pods(RAY[name]):
        (container,) = pod["containers"]
        assert {"readinessProbe", "livenessProbe"} <= set(container), where
        (shm,) = (volume for volume in pod["volumes"] if volume["name"] == "shm")
        assert shm["emptyDir"]["medium"] == "Memory", where
        assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"], where
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}, where
        assert pod["securityContext"]["runAsNonRoot"], where


@pytest.mark.parametrize("name", RAY)
def test_cpu_and_gpu_pools_are_apart_and_run_images_that_are_built_here(name: str) -> None:
    found = dict(pods(RAY[name]))
    assert {where for where, pod in found.items() if gpus(pod)} == set(found) - {"head", "cpu"}
    for pod in found.values():
        assert pod["containers"][0]["image"] == ("vglamm:cuda" if gpus(pod) else "vglamm:cpu")
        assert pod["containers"][0]["image"] in IMAGES
        tolerated = {toleration["key"] for toleration in pod.get("tolerations", [])}
        assert ("nvidia.com/gpu" in tolerated) == bool(gpus(pod))


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_the_real_command_line_reads_every_command(words: list[str]) -> None:
    assert words[0] == "vglamm"
    if words[1:] != ["--help"]:
        parse(words[1:])


def test_a_wrong_option_is_seen() -> None:
    words = shlex.split(RAY["rayjob-annotate"]["spec"]["entrypoint"])
    with pytest.raises(Exception, match="--outt"):
        parse([word.replace("--out", "--outt") for word in words[1:]])


def test_the_recipe_and_its_changes_are_known_and_fit_the_pools() -> None:
    from ray_jobs.train import recipes

    context = parse(shlex.split(RAY["rayjob-train"]["spec"]["entrypoint"])[1:])
    recipe = recipes.load(context.params["recipe"], context.params["overrides"])
    groups = {group["groupName"]: group for group in cluster_of(RAY["rayjob-train"])["workerGroupSpecs"]}
    (train,) = (group for group in groups.values() if gpus(group["template"]["spec"]))
    assert recipe.gpu
    assert recipe.workers <= train["maxReplicas"] * gpus(train["template"]["spec"])
    assert recipe.cpus <= float(train["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"])
    assert recipe.storage.startswith("/data/")


def holds(document: dict[str, Any], labels: dict[str, Any], cpus: float, wanted: float) -> bool:
    """Whether a node of some group may run an actor of these labels and fits it."""
    for group in cluster_of(document)["workerGroupSpecs"]:
        pod = group["template"]["spec"]
        fits = cpus <= float(pod["containers"][0]["resources"]["requests"]["cpu"]) and wanted <= gpus(pod)
        if fits and all(group.get("labels", {}).get(key) == value for key, value in labels.items()):
            return True
    return False


def test_each_stage_of_bulk_annotation_finds_a_node() -> None:
    from ray_jobs.annotate.profile import load_profile

    context = parse(shlex.split(RAY["rayjob-annotate"]["spec"]["entrypoint"])[1:])
    profile = load_profile(context.params["profile"])
    for name in ("decode_vision", "vision", "language", "pixel"):
        pool = getattr(profile, name)
        assert holds(RAY["rayjob-annotate"], pool.labels, pool.cpus, pool.gpus), name


def test_bulk_annotation_begins_on_the_nodes_that_are_there_before_any_is_asked_for() -> None:
    from ray_jobs.annotate.placing import check_places
    from ray_jobs.annotate.profile import load_profile

    profile = load_profile(parse(shlex.split(RAY["rayjob-annotate"]["spec"]["entrypoint"])[1:]).params["profile"])
    for name in ("rayjob-annotate", "raycluster"):
        cluster = cluster_of(RAY[name])
        assert cluster["enableInTreeAutoscaling"]
        profile.check({"CPU": 0.0})
        check_places(profile, [{"Alive": True, "Labels": {}, "Resources": {}}])


def test_the_config_of_the_endpoint_is_what_serve_reads() -> None:
    from ray.serve.schema import ServeDeploySchema

    from serve.app import Args
    from serve.profile import SPLIT, load_profile

    config = ServeDeploySchema.model_validate(yaml.safe_load(RAY["rayservice"]["spec"]["serveConfigV2"]))
    (application,) = config.applications
    args = Args.model_validate(application.args)
    assert application.import_path == "serve.app:build"
    assert (config.http_options.host, config.http_options.port) == (args.host, args.port)
    profile = load_profile(args.profile)
    for name in ("ingress", *SPLIT):
        part = getattr(profile, name)
        assert holds(RAY["rayservice"], part.labels, part.cpus, part.gpus), name
    pod = dict(pods(RAY["rayservice"]))["cpu"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert args.token_file == f"{mounts['token']}/token"
    assert all(place.startswith(mounts["data"] + "/") for place in (args.spool, args.model, args.folder))


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_copies_what_there_is_and_installs_what_is_pinned(image: str) -> None:
    text = IMAGES[image].read_text()
    for line in re.findall(r"^COPY (.*)$", text, flags=re.MULTILINE):
        *sources, _ = line.split()
        assert all((ROOT / source).exists() for source in sources), line
    assert "-c constraints.txt" in text
    assert "USER ray" in text


def test_only_the_operator_and_nodes_reach_rays_own_ports() -> None:
    ((policy,), (claim,), (monitor,)) = (MANIFESTS[name] for name in ("network", "storage", "prometheus"))
    everyone = [rule for rule in policy["spec"]["ingress"] if "from" not in rule]
    assert [[port["port"] for port in rule["ports"]] for rule in everyone] == [[8000]]
    for name, document in RAY.items():
        for where, pod in pods(document):
            ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
            assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports, (name, where)
            data = [volume for volume in pod["volumes"] if volume["name"] == "data"]
            assert data[0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
