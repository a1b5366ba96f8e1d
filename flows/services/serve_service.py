"""The server for models that `genai up` starts if params.yaml says so (`serve.up`)."""

import sys
from pathlib import Path

from flows.services.check import Check
from flows.services.processes import read_state
from flows.web import WebError, send
from genai_core.config import PARAMS_FILE, ServeConfig, load_config

NAME = "serve"


def wanted_server(workspace: Path) -> ServeConfig | None:
    """The section `serve:` if `genai up` should start the server; None otherwise. Raises ConfigError."""
    config = load_config(workspace / PARAMS_FILE).serve
    return config if config.up else None


def serve_command(workspace: Path, config: ServeConfig) -> list[str]:
    """The command that serves what the section says."""
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "serve", *config.models]
    command += [f"--host={config.host}", f"--port={config.port}", f"--queue={config.queue_images}"]
    command += [f"--batch={config.batch_images}", f"--token-rate={config.token_rate}"]
    command += [f"--device={device}" for device in config.devices]
    return command if config.threads is None else [*command, f"--threads={config.threads}"]


def serve_url(config: ServeConfig) -> str:
    """The address at which this machine reaches it."""
    host = "127.0.0.1" if config.host in ("0.0.0.0", "localhost", "::") else config.host  # noqa: S104
    return f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"


def is_ready(config: ServeConfig) -> bool:
    """Whether it draws images now."""
    try:
        send(f"{serve_url(config)}/readyz", timeout_s=2.0)
    except WebError:
        return False
    return True


def check_serving(workspace: Path) -> Check:
    """`genai doctor`: whether the server that params.yaml asks for is up. Raises ConfigError."""
    config = load_config(workspace / PARAMS_FILE).serve
    state = read_state(workspace)
    running = state is not None and any(service.name == NAME for service in state.living())
    if not config.up:
        if running:
            return Check("serving", "warn", "runs, though serve.up is false", "genai down, then genai up")
        return Check("serving", "ok", "not asked for (serve.up in params.yaml)")
    if not running:
        return Check("serving", "warn", "serve.up is true, and no server of this checkout runs", "genai up")
    if not is_ready(config):
        todo = "see .genai/logs/serve.log; if serve: in params.yaml was changed: genai down, then genai up"
        return Check("serving", "fail", f"{serve_url(config)} draws no images now", todo)
    return Check("serving", "ok", f"{', '.join(config.models)} at {serve_url(config)}")
