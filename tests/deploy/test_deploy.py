"""The files of `deploy/` are well-formed, agree with each other, and are as safe as they say.

No Kubernetes and no cloud is involved. The Slurm scripts also run on a real Slurm, in `tests/faults/test_slurm.py`.
"""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.version import Version
from ray.autoscaler._private.util import prepare_config, validate_config

from lop_sweep.version import __version__

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

JOB_FIELDS = {
    "entrypoint", "backoffLimit", "submitterConfig", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished",
    "rayClusterSpec",
}  # fmt: skip
CLUSTER_FIELDS = {
    "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs",
}  # fmt: skip
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
"""Fields of KubeRay's `ray.io/v1` that the manifest uses. A server may drop a misspelt one in silence."""


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert found, package
    return found[1]


@pytest.fixture
def manifests() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "kuberay" / "rayjob.yaml").read_text())}


@pytest.fixture
def ray_cluster(manifests: dict[str, Any]) -> dict[str, Any]:
    cluster: dict[str, Any] = manifests["RayJob"]["spec"]["rayClusterSpec"]
    return cluster


def pods(ray_cluster: dict[str, Any]) -> list[dict[str, Any]]:
    return [group["template"]["spec"] for group in (ray_cluster["headGroupSpec"], *ray_cluster["workerGroupSpecs"])]


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("slurm/*.sbatch")), ids=lambda path: path.stem)
def test_slurm_scripts_save_and_requeue(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    directives = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert text.splitlines()[1].startswith("#SBATCH")  # directives after the first command are ignored
    assert "--signal=B:TERM@120" in " ".join(directives)
    assert "--requeue" in " ".join(directives)
    assert len(re.findall(r"^sweep=\(.*\)$", text, flags=re.MULTILINE)) == 1  # the one line to edit


def test_the_ray_job_uses_fields_that_exist(manifests: dict[str, Any], ray_cluster: dict[str, Any]) -> None:
    job = manifests["RayJob"]
    assert (job["apiVersion"], set(job)) == ("ray.io/v1", {"apiVersion", "kind", "metadata", "spec"})
    assert set(job["spec"]) <= JOB_FIELDS
    assert set(ray_cluster) <= CLUSTER_FIELDS
    assert set(ray_cluster["headGroupSpec"]) == {"rayStartParams", "template"}
    for group in ray_cluster["workerGroupSpecs"]:
        assert set(group) == GROUP_FIELDS
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert all(isinstance(value, str) for value in ray_cluster["headGroupSpec"]["rayStartParams"].values())


def test_the_ray_job_ends_its_cluster_and_is_retried(manifests: dict[str, Any]) -> None:
    spec = manifests["RayJob"]["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["backoffLimit"] >= 1


def test_the_ray_job_requires_a_token(manifests: dict[str, Any], ray_cluster: dict[str, Any]) -> None:
    assert ray_cluster["authOptions"] == {"mode": "token"}
    assert ray_cluster["rayVersion"] == pinned("ray")
    assert Version(ray_cluster["rayVersion"]) >= Version("2.52")  # KubeRay refuses tokens for an older Ray
    assert manifests["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress"]


def test_the_expected_cpus_are_those_of_all_workers(manifests: dict[str, Any], ray_cluster: dict[str, Any]) -> None:
    assert ray_cluster["enableInTreeAutoscaling"] is True
    assert ray_cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    cpus = [
        group["maxReplicas"] * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
        for group in ray_cluster["workerGroupSpecs"]
    ]
    assert f"--cpus-expected {sum(cpus)} " in manifests["RayJob"]["spec"]["entrypoint"]


def test_pods_have_no_privileges_and_hold_no_secrets(manifests: dict[str, Any], ray_cluster: dict[str, Any]) -> None:
    for pod in pods(ray_cluster):
        assert pod["serviceAccountName"] == manifests["ServiceAccount"]["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["image"].endswith(f":{__version__}")
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert not any("value" in entry for entry in container.get("env", []))
    (workers,) = pods(ray_cluster)[1:]
    assert workers["tolerations"]
    assert workers["automountServiceAccountToken"] is False


def test_the_image_has_what_the_manifest_needs(ray_cluster: dict[str, Any]) -> None:
    lines = (DEPLOY / "kuberay" / "Dockerfile").read_text()
    assert "USER 1000" in lines
    assert {pod["securityContext"]["runAsUser"] for pod in pods(ray_cluster)} == {1000}
    for needed in ("procps", "wget", '"ray[default]"', "--constraint /tmp/constraints.txt"):
        assert needed in lines


@pytest.fixture
def aws() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "ray-up" / "aws.yaml").read_text())
    return config


def test_the_cluster_file_passes_rays_own_check(aws: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(aws)))
    with pytest.raises(jsonschema.ValidationError):  # so the check does check
        validate_config(prepare_config({**aws, "max_worker": 3}))


def test_instances_are_private_and_have_few_rights(aws: dict[str, Any]) -> None:
    """What is left out here, Ray makes itself: SSH from anywhere, and all rights on EC2 and S3."""
    assert aws["provider"]["use_internal_ips"] is True
    types = {name: one["node_config"] for name, one in aws["available_node_types"].items()}
    for node in types.values():
        assert node["SecurityGroupIds"]
        assert node["SubnetIds"]
        assert node["MetadataOptions"]["HttpTokens"] == "required"
    assert types["head"]["IamInstanceProfile"] != types["spot"]["IamInstanceProfile"]
    assert types["spot"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["head"]
    for command in (*aws["head_start_ray_commands"], *aws["worker_start_ray_commands"]):
        assert command.endswith("ray stop") or command.startswith("RAY_AUTH_MODE=token ")


def test_the_spot_nodes_are_the_expected_cpus(aws: dict[str, Any]) -> None:
    spot = aws["available_node_types"]["spot"]
    assert aws["available_node_types"]["head"]["resources"] == {"CPU": 0}
    assert aws["max_workers"] == spot["max_workers"]
    expected = f"--cpus-expected {spot['max_workers'] * spot['resources']['CPU']}"
    assert expected in (DEPLOY / "ray-up" / "aws.yaml").read_text()
