"""deployments/: the file that `genai up` deploys, and the templates for other machines."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from flows.cli import main
from flows.services.deployment_file import ServicesError, check_deployments, deployment_file, faults
from flows.serving.server import GRACE_S
from tests.flows.conftest import ROOT, edit, shell

FILE = "deployments/prefect.yaml"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "deployments", tmp_path / "deployments")
    (tmp_path / "flows").symlink_to(ROOT / "flows")
    return tmp_path


def test_projects_own_file_is_valid() -> None:
    entries = {entry["name"]: entry for entry in deployment_file(ROOT)}
    assert list(entries) == ["on-demand", "watch", "retrain", "sample-production", "measure-production"]
    assert faults(ROOT) == []
    for entry in entries.values():
        assert entry["description"]
        assert entry["concurrency_limit"]["limit"] == 1
        for schedule in entry.get("schedules", []):
            ZoneInfo(schedule["timezone"])
            assert schedule["active"] is False, "a fresh `genai up` trains nothing unasked"


def test_every_parameter_has_a_description_in_prefects_ui() -> None:
    """From the `Args:` section: the UI does not show Annotated[..., Field(description=...)]."""
    from prefect.flows import load_flow_from_entrypoint

    for entry in deployment_file(ROOT):
        file, _, name = entry["entrypoint"].partition(":")
        flow = load_flow_from_entrypoint(f"{ROOT / file}:{name}")
        silent = [key for key, value in flow.parameters.properties.items() if not value.get("description")]
        assert silent == [], entry["name"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pipeline.py:pipeline", "pipeline.py:nothing", "unknown flow flows/runs/pipeline.py:nothing: .* has pipeline"),
        ("pipeline.py:pipeline", "none.py:pipeline", "no such file: flows/runs/none.py"),
        ("pipeline.py:pipeline", "pipeline.py:_summary", "unknown flow flows/runs/pipeline.py:_summary"),
        ("flows/runs/pipeline.py:pipeline", "pipeline", "expected FILE:FLOW"),
        ("stages: []", "stage: []", "unknown parameters stage; pipeline accepts workspace, stages"),
        ("name: watch", "name: on-demand", "on-demand: duplicate name"),
    ],
)
def test_faults_that_would_appear_only_when_a_run_starts(checkout: Path, old: str, new: str, message: str) -> None:
    edit(checkout / FILE, old, new)
    with pytest.raises(ServicesError, match=message):
        check_deployments(checkout)


TEMPLATES = ["docker", "docker.jobs", "kubernetes", "kubernetes.jobs"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_prefect_accepts_the_work_pools_template(name: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    template = json.loads((ROOT / f"deployments/{name}.json").read_text())
    kind = name.partition(".")[0]
    pool = WorkPoolCreate(name=name, type=kind, base_job_template=template)  # every placeholder has its variable
    used = _placeholders(template["job_configuration"])
    assert used == set(template["variables"]["properties"])
    assert all(value.get("description") for value in template["variables"]["properties"].values())
    assert pool.base_job_template == template


@pytest.mark.parametrize("name", ["docker", "docker.jobs"])
def test_the_worker_hears_why_a_container_ended(name: str) -> None:
    """Of one that is removed at once, prefect-docker takes the last state that it saw for the end: `running`, status 0.

    Then a killed job counts as lost only when nothing was heard of it for a minute, and one that cannot start for 15.
    """
    properties = json.loads((ROOT / f"deployments/{name}.json").read_text())["variables"]["properties"]
    assert (properties["auto_remove"]["default"], properties["stream_output"]["default"]) == (False, True)


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes.jobs"])
def test_kubernetes_job_is_valid(name: str) -> None:
    """As far as the locked packages can tell; benchmarks/kubernetes_templates.py checks it with Kubernetes' schema."""
    template = json.loads((ROOT / f"deployments/{name}.json").read_text())
    job = template["job_configuration"]["job_manifest"]
    pod = job["spec"]["template"]["spec"]
    assert (pod["parallelism"], pod["completions"]) == (1, 1), "Prefect's worker refuses a Job without them there"
    assert pod["containers"][0]["name"] == "prefect-job", "nor does it accept another name"
    assert (job["apiVersion"], job["kind"], job["spec"]["template"]["spec"]["restartPolicy"]) == (
        "batch/v1",
        "Job",
        "Never",
    )
    # A new volume belongs to root; the image's user has to write there.
    (uid,) = re.findall(r"--uid (\d+)", (ROOT / "deployments/Dockerfile").read_text())
    security = job["spec"]["template"]["spec"]["securityContext"]
    assert {str(security[key]) for key in ("runAsUser", "runAsGroup", "fsGroup")} == {uid}
    (container,) = job["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    volumes = pod["volumes"] if name == "kubernetes" else template["variables"]["properties"]["volumes"]["default"]
    assert mounts == {volume["name"] for volume in volumes}
    assert job["spec"]["backoffLimit"] == 0, "Prefect and DVC go on where a run ended; Kubernetes would begin it twice"


def test_a_job_in_a_container_needs_no_checkout() -> None:
    """The image has the code at /srv/genai, and the place of the jobs is on a volume."""
    image = (ROOT / "deployments/Dockerfile").read_text()
    (home,) = re.findall(r"GENAI_WORKER_HOME=(\S+)", image)
    assert {f"COPY {name} /srv/genai/{name}" for name in ("flows", "tasks", "genai_core")} <= set(image.splitlines())
    docker, kubernetes = (
        json.loads((ROOT / f"deployments/{name}.jobs.json").read_text()) for name in ("docker", "kubernetes")
    )
    (volume,) = docker["variables"]["properties"]["volumes"]["default"]
    assert volume.partition(":")[2] == home
    (container,) = kubernetes["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"worker": home, "shared-memory": "/dev/shm"}
    volumes = kubernetes["variables"]["properties"]["volumes"]["default"]
    assert {volume["name"] for volume in volumes} == set(mounts)
    assert "/srv/genai" not in json.dumps([docker["job_configuration"], kubernetes["job_configuration"]])


def test_compose_file_is_consistent() -> None:
    compose = YAML(typ="safe").load(ROOT / "deployments/compose.yaml")
    services = compose["services"]
    assert set(services) == {"database", "server", "worker"}
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        named = [
            mount.partition(":")[0] for mount in service.get("volumes", []) if not mount.startswith((".", "/", "$"))
        ]
        assert set(named) <= set(compose["volumes"])
    # No secret stands in the file, and nothing listens beyond this machine.
    text = (ROOT / "deployments/compose.yaml").read_text()
    assert "${POSTGRES_PASSWORD:?" in text
    assert "${PREFECT_AUTH:?" in text
    shell(ROOT, "git check-ignore -q deployments/.env")
    for name in ("database", "server"):
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert compose["services"]["server"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))


def test_the_container_that_serves_is_locked_up() -> None:
    (serve,) = YAML(typ="safe").load(ROOT / "deployments/compose.serve.yaml")["services"].values()
    assert (serve["read_only"], serve["cap_drop"]) == (True, ["ALL"])
    assert serve["security_opt"] == ["no-new-privileges:true"]
    assert serve["volumes"] == ["..:/srv/genai"]
    assert all(port.startswith("127.0.0.1:") for port in serve["ports"])
    program, *arguments = serve["command"]
    assert program == "genai"
    answer = CliRunner().invoke(main, [*arguments, "--help"])
    assert answer.exit_code == 0, answer.output
    # Docker must not kill it before it has answered.
    assert int(serve["stop_grace_period"].removesuffix("s")) > GRACE_S


def test_the_image_has_the_command_and_the_version() -> None:
    """The code is mounted; without metadata of the package, `genai serve` cannot say its version."""
    lines = (ROOT / "deployments/Dockerfile").read_text().splitlines()
    (copied,) = (line.split()[1:-1] for line in lines if line.startswith("COPY pyproject.toml"))
    assert all((ROOT / name).is_file() for name in copied)
    assert any("-e /srv/genai" in line for line in lines)


def test_a_build_sends_what_the_image_copies_and_no_more() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "deployments/Dockerfile").read_text(), re.MULTILINE)
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == set(" ".join(copied).split())
    assert "**/__pycache__" in lines, "each run of a test would make another image"


def _placeholders(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(_placeholders, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(_placeholders, value)) if value else set()
    return set(re.findall(r"{{ (\w+) }}", value)) if isinstance(value, str) else set()
