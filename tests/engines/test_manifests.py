"""The manifests in ``configs/launchers`` by the schemas of Kubernetes, Kubeflow and JobSet."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.repository import CONFIGS

LAUNCHERS = CONFIGS / "launchers"
MANIFESTS = sorted(LAUNCHERS.glob("*.yaml"))
MODELS = {
    "TrainJob": ("kubeflow_trainer_api.models", "TrainerV1alpha1TrainJob"),
    "JobSet": ("kubeflow_trainer_api.models", "JobsetV1alpha2JobSet"),
}


def documents(path: Path) -> list[dict[str, Any]]:
    """The objects of a manifest, without what YAML shares between them."""
    return [json.loads(json.dumps(each)) for each in yaml.safe_load_all(path.read_text())]


def pod_specs(found: object) -> list[dict[str, Any]]:
    """All specs of pods, at any depth."""
    if isinstance(found, list):
        return [spec for each in found for spec in pod_specs(each)]
    if not isinstance(found, dict):
        return []
    here = [found] if "containers" in found else []
    return here + [spec for each in found.values() for spec in pod_specs(each)]


OF_KIND = {document["kind"]: document for path in MANIFESTS for document in documents(path)}


def without_nothing(found: object) -> object:
    """The same without keys that hold None, which models have for what is not given."""
    if isinstance(found, dict):
        return {key: without_nothing(value) for key, value in found.items() if value is not None}
    return [without_nothing(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_manifest_starts_the_launcher_with_a_token(path: Path):
    objects = [each for each in documents(path) if each["kind"].endswith(("Job", "JobSet"))]
    containers = [spec["containers"][0] for spec in pod_specs(objects)] or [objects[0]["spec"]["trainer"]]
    for container in containers:
        assert container["command"] == ["fake-torchrun"]
        assert container["args"][:2] == ["-m", "accelerate_sim.train"]
        token = {each["name"]: each for each in container["env"]}["FAKE_TORCH_DIST_TOKEN"]
        assert token["valueFrom"]["secretKeyRef"] == {"name": "llama70b-token", "key": "token"}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["Job", "Service", "Secret", "PersistentVolumeClaim"])
@pytest.mark.parametrize("version", ["1.32", "1.37"])
def test_kubernetes_takes_it(kind: str, version: str):
    validator = pytest.importorskip("kubernetes_validate")
    validator.validate(OF_KIND[kind], version, strict=True)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["JobSet", "PyTorchJob"])
def test_kubernetes_takes_its_pods(kind: str):
    validator = pytest.importorskip("kubernetes_validate")
    specs = pod_specs(OF_KIND[kind])
    assert specs
    for spec in specs:
        spec = {"restartPolicy": "Never"} | spec
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
        validator.validate(pod, "1.37", strict=True)


@pytest.mark.real
@pytest.mark.parametrize("kind", MODELS)
def test_the_operators_model_has_every_field(kind: str):
    """A model drops what it does not know, so what it gives back shows a field that is misspelt or misplaced."""
    module, name = MODELS[kind]
    pytest.importorskip(module.partition(".")[0])
    model = getattr(importlib.import_module(module), name)
    assert without_nothing(model.from_dict(OF_KIND[kind]).to_dict()) == OF_KIND[kind]


@pytest.mark.real
def test_the_training_operators_model_has_every_field():
    models = pytest.importorskip("kubeflow.training.models")
    client = pytest.importorskip("kubernetes.client")

    class Response:
        data = json.dumps(OF_KIND["PyTorchJob"])

    api = client.ApiClient()
    for name in dir(models):
        setattr(client.models, name, getattr(models, name))
    job = api.deserialize(Response(), "KubeflowOrgV1PyTorchJob")
    assert api.sanitize_for_serialization(job) == OF_KIND["PyTorchJob"]
