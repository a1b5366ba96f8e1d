"""The toy pipeline in containers: each job of `compute.executor: pool` is one, started by a docker worker.

    podman build -f deployments/Dockerfile -t genai-pipeline .         # or docker
    python -m venv V && V/bin/pip install prefect-docker               # a worker's own; the project does not need it
    DOCKER_HOST=unix:///run/podman/podman.sock python -m benchmarks.containers --worker-python V/bin/python

It starts a Prefect server, an S3 server, a git server and the worker on the loopback, which the containers use
(network mode host). The work pool has deployments/docker.jobs.json as its template. The hashes of all outputs are
compared with those of one machine; a second run must start no container. The containers are removed in the end, the
volume is not.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker

from benchmarks.scale_out import hashes, moved
from benchmarks.scale_out_machines import (
    POOL,
    ROOT,
    Site,
    connect,
    run,
    set_value,
    started_site,
    toy_workspace,
    wait_until_online,
)
from flows.services.api import Api
from tests.flows.toy_home import own_settings, shell

MODELS = ["model0", "model1"]
TEMPLATE = ROOT / "deployments/docker.jobs.json"


@contextmanager
def git_server(folder: Path) -> Iterator[str]:
    """The address under which the repositories in a folder can be read. A container cannot read the folder itself."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", "--export-all"]
    process = subprocess.Popen([*command, f"--base-path={folder}", str(folder)], start_new_session=True)
    try:
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@contextmanager
def docker_worker(site: Site, python: Path, image: str, git: str, volume: str) -> Iterator[None]:
    """A worker of a new docker pool. volume: at /srv/worker, where containers keep clone and cache."""
    machine = site.folder / "docker-worker"
    environment = {**site.variables(machine), "DOCKER_HOST": os.environ["DOCKER_HOST"]}
    # The templates' defaults, which a person would edit in the pages.
    create = ["prefect", "work-pool", "create", POOL, "--type", "docker", "--base-job-template", str(TEMPLATE)]
    subprocess.run([python, "-m", *create], env=environment, check=True, capture_output=True)
    values = {
        "image": image,
        "image_pull_policy": "Never",
        "network_mode": "host",
        "env": {**site.s3, "GENAI_GIT_URL": git, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "DO_NOT_TRACK": "1"},
        "volumes": [f"{volume}:/srv/worker"],
    }
    set_defaults(site, values)
    command = ["prefect", "worker", "start", "--pool", POOL, "--type", "docker", "--limit", "1", "--name", "docker"]
    with (machine / "log").open("w") as log:
        process = subprocess.Popen([python, "-m", *command], env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_online(site, 1)
            yield
        finally:
            process.terminate()
            process.wait()


def set_defaults(site: Site, values: dict[str, object]) -> None:
    """Set the variables of the pool's template, as a person does in Prefect's pages."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: site.api}), get_client(sync_client=True) as client:
        template = client.read_work_pool(POOL).base_job_template
        for name, value in values.items():
            template["variables"]["properties"][name]["default"] = value
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def containers_of(site: Site) -> list[Any]:
    """The containers of the pool's jobs, also those that have ended."""
    pool = Api(site.api).get(f"work_pools/{POOL}")["id"]
    return docker.from_env().containers.list(all=True, filters={"label": f"io.prefect.work-pool-id={pool}"})


def remove_containers(site: Site) -> None:
    for container in containers_of(site):
        container.remove(force=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker-python", type=Path, required=True, help="an environment that has prefect-docker")
    parser.add_argument("--image", default="genai-pipeline:latest", help="of deployments/Dockerfile")
    parser.add_argument("--volume", default="genai-worker-benchmark", help="a volume for the containers' cache")
    arguments = parser.parse_args()
    if "DOCKER_HOST" not in os.environ:
        sys.exit("DOCKER_HOST: the address of Docker's API, such as unix:///var/run/docker.sock")
    with tempfile.TemporaryDirectory(prefix="genai-containers-") as name:
        folder = Path(name)
        os.environ.update(own_settings(folder))
        with started_site(folder) as site, ExitStack() as stack:
            one = toy_workspace(folder / "one", MODELS)
            set_value(one, "data", "test_share", 0.27)
            connect(one, folder / "origin.git")
            several = shutil.copytree(one, folder / "several", symlinks=True)
            shell(several, f"git push -q {folder / 'origin.git'} HEAD:several")
            print(f"one machine: {run(site, one, '--executor', 'local', toy={}):.1f} s", flush=True)
            address = stack.enter_context(git_server(folder)) + "/origin.git"
            stack.enter_context(
                docker_worker(site, arguments.worker_python, arguments.image, address, arguments.volume)
            )
            stack.callback(remove_containers, site)
            print(f"containers: {run(site, several, '--executor', 'pool', toy={}):.1f} s", flush=True)
            ends = [container.attrs["State"]["ExitCode"] for container in containers_of(site)]
            print(f"  {len(ends)} containers, exit statuses {sorted(set(ends))}; objects moved: {moved(several)}")
            mine, others = hashes(one), hashes(several)
            print(f"  hashes of {len(mine)} outputs: {'the same' if mine == others else f'DIFFERENT: {mine} {others}'}")
            print(f"  again: {run(site, several, '--executor', 'pool', toy={}):.1f} s", flush=True)
            print(f"  {len(containers_of(site)) - len(ends)} more containers")


if __name__ == "__main__":
    main()
