"""Check the templates of Kubernetes pools against Prefect's own type and Kubernetes' own schema. No cluster needed.

    python -m venv V && V/bin/pip install -r requirements.lock prefect-kubernetes kubernetes-validate
    V/bin/python -m benchmarks.kubernetes_templates

Each template is filled in as a worker does it for a run, with its defaults and with others. What is left is the Job
that the cluster would get: it must be valid, and start in the image what its pool's runs start. Nothing is run.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow, FlowRun
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.executors.pool_deployment import COMMAND, PROCESS

FOLDER = Path(__file__).parents[1] / "deployments"
# Prefect's type wants them in the pod's specification, where Kubernetes does not know them, and ignores them.
ONLY_FOR_PREFECT = ("parallelism", "completions")
# What each run of the pool sets (a deployment's job variables), and a part of the command that a pod must then have.
RUNS: dict[str, tuple[dict[str, Any], str]] = {
    "kubernetes.json": ({}, "prefect flow-run execute"),
    "kubernetes.jobs.json": ({"command": COMMAND}, f"-m {PROCESS}"),
}
GPU = {"cpu": "16", "memory": "128Gi", "nvidia.com/gpu": "1"}
CACHE = {"name": "worker", "persistentVolumeClaim": {"claimName": "genai-worker"}}
SHARED = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}
# What a person sets for a pool with GPUs, by template.
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "kubernetes.json": {"requests": GPU, "limits": GPU, "claim": "other", "namespace": "ml"},
    "kubernetes.jobs.json": {
        "requests": GPU,
        "limits": GPU,
        "volumes": [CACHE, SHARED],
        "secret": "keys",
        "service_account_name": "worker",
        "env": {"GENAI_GIT_URL": "https://git.example.org/project.git"},
    },
}


async def manifest(template: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The Job that a worker would send for a run of the pool."""
    client = PrefectClient("http://127.0.0.1:9/api")  # asked only if a value refers to a block; None starts a server
    configuration = await KubernetesWorkerJobConfiguration.from_template_and_values(template, values, client=client)
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="20261130-120000-abcd train@gan 1")
    configuration.prepare_for_flow_run(run, flow=Flow(id=run.flow_id, name="genai-job"))
    return configuration.job_manifest


def check_container(job: dict[str, Any], wanted: str) -> None:
    """Raise AssertionError unless the pod runs this command, with what that needs to find its run."""
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "command" not in container, "the image's ENTRYPOINT (tini) has to pass signals on"
    assert wanted in " ".join(container["args"]), container["args"]
    # Kubernetes replaces $(NAME), and $$ by $.
    assert not any(sign in argument for argument in container["args"] for sign in ("$(", "$$")), container["args"]
    assert {"PREFECT__FLOW_RUN_ID", "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"} <= {one["name"] for one in container["env"]}
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def main() -> None:
    version = kubernetes_validate.latest_version()
    for name, others in OTHER_VALUES.items():
        template = json.loads((FOLDER / name).read_text())
        of_runs, wanted = RUNS[name]
        for values in ({}, others):
            job = asyncio.run(manifest(template, {**values, **of_runs}))
            for key in ONLY_FOR_PREFECT:
                del job["spec"]["template"]["spec"][key]
            kubernetes_validate.validate(job, version, strict=True)  # raises; strict: no unknown keys
            assert "{{" not in json.dumps(job), f"{name}: a variable has no value"
            check_container(job, wanted)
            shown = ", ".join(sorted(values)) or "defaults"
            print(f"{name} ({shown}): valid for Kubernetes {version}; runs {wanted}")


if __name__ == "__main__":
    sys.exit(main())
