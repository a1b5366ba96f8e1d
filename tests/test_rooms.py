"""The rooms and the direction of imports: deployments -> flows -> tasks -> genai_core, and the levels inside."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# room -> what it may not import, by the first parts of the module's name
FORBIDDEN = {
    "genai_core": {"prefect", "dvc", "tasks", "flows", "deployments"},
    # Pure: facts in, settings and reasons out. So flows may import it.
    "genai_core/advice": {
        "torch",
        "numpy",
        "pandas",
        "genai_core.data",
        "genai_core.models",
        "genai_core.training",
        "genai_core.evaluation",
        "genai_core.sampling",
        "genai_core.reporting",
    },
    "genai_core/models": {"genai_core.training", "genai_core.evaluation", "genai_core.sampling", "genai_core.data"},
    "genai_core/data": {"genai_core.training", "genai_core.evaluation", "genai_core.sampling"},
    "genai_core/training": {"genai_core.evaluation", "genai_core.sampling", "genai_core.reporting"},
    "genai_core/evaluation": {"genai_core.training", "genai_core.sampling", "genai_core.reporting"},
    "genai_core/sampling": {"genai_core.training", "genai_core.evaluation", "genai_core.reporting"},
    "genai_core/drawing": {"genai_core.training", "genai_core.evaluation", "genai_core.reporting", "genai_core.data"},
    "genai_core/reporting": {
        "torch",
        "genai_core.models",
        "genai_core.training",
        "genai_core.evaluation",
        "genai_core.sampling",
    },
    # The top of the library: nothing below knows it.
    "genai_core/exploring": {"genai_core.training"},
    "tasks": {"prefect", "dvc", "flows", "deployments"},
    "flows": {"torch", "torchvision", "lightning_fabric", "tasks", "deployments"},
}
YAML = {"yaml", "ruamel", "ruamel.yaml"}


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def files(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found, f"no code in {room}"
    return found


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_allowed_modules(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files(room)
        for module in imports(path)
        for package in FORBIDDEN[room]
        if is_within(module, package)
    ]
    assert wrong == []


def test_flows_import_only_config_errors_advice_and_light_values_of_the_core() -> None:
    allowed = {"genai_core", "genai_core.config", "genai_core.GenaiError"}
    light = (
        "genai_core.counted",
        "genai_core.seeds",
        "genai_core.image_size",
        "genai_core.advice",
        "genai_core.preference",
        "genai_core.serving.frames",
        "genai_core.serving.shares",
    )
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files("flows")
        for module in imports(path)
        if is_within(module, "genai_core")
        and not any(module == a or is_within(module, "genai_core.config") for a in allowed)
        and not any(is_within(module, name) for name in light)
    ]
    assert wrong == []


def test_rooms_of_flows_import_only_earlier_ones() -> None:
    """The code that reads the graph is the lowest level, the command line the highest."""
    order = (
        "",
        "data",
        "runs",
        "advising",
        "registry",
        "gc",
        "lineage",
        "services",
        "measuring",
        "search",
        "serving",
        "watching",
        "retraining",
    )

    def level(room: str) -> str:
        """An executor works in a run's place, and a run starts an executor."""
        return "runs" if room == "executors" else room

    wrong = []
    for path in files("flows"):
        room, *rest = path.relative_to(ROOT / "flows").parts
        if room.endswith("cli.py"):
            continue
        own = order.index(level(room) if rest else "")
        for module in imports(path):
            _, *names = module.split(".")
            if is_within(module, "flows") and names and level(names[0]) in order and order.index(level(names[0])) > own:
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert wrong == []


def test_executors_do_not_know_the_flow() -> None:
    """What runs a job does not depend on who asked for it."""
    above = ("flows.runs.pipeline", "flows.runs.stage", "flows.runs.active_run", "flows.runs.acceptance")
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files("flows/executors")
        for module in imports(path)
        if any(is_within(module, name) for name in above)
    ]
    assert wrong == []


def test_only_the_config_reads_yaml() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for room in ("genai_core", "tasks")
        for path in files(room)
        if YAML & set(imports(path))
    }
    assert readers == {"genai_core/config/load.py"}


def test_only_one_file_of_flows_starts_stages() -> None:
    """Long processes are supervised. The others are short calls of git or the driver."""
    starters = {path.name for path in files("flows") if "subprocess.Popen" in path.read_text()}
    assert starters == {"process.py", "supervisor.py"}


def test_no_file_uses_loaders_that_could_run_code() -> None:
    unsafe = ("pickle", "cPickle", "dill", "joblib", "shelve", "marshal")
    for room in ("genai_core", "tasks", "flows"):
        for path in files(room):
            found = [module for module in imports(path) if any(is_within(module, name) for name in unsafe)]
            assert found == [], path
            text = path.read_text()
            assert text.count("torch.load(") == text.count("weights_only=True"), path


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("flows.cli", {"torch", "prefect", "dvc", "pandas", "rich"}),
        ("genai_core", {"torch", "pandas"}),
        ("genai_core.config", {"torch", "pandas", "numpy"}),
        ("tasks.ingest", {"torch", "prefect", "dvc", "sklearn"}),
        ("genai_core.advice.propose", {"torch", "numpy", "pandas"}),
        ("tasks.look", {"torch", "prefect", "dvc", "sklearn"}),
        ("tasks.prepare", {"torch", "prefect", "dvc", "sklearn"}),
        ("tasks.augment", {"torch", "torchvision", "sklearn"}),
        ("tasks.select", {"torch", "pandas", "numpy"}),
        ("tasks.train", {"torchvision", "torchmetrics", "scipy", "sklearn", "prefect", "dvc"}),
        ("tasks.report", {"torch", "sklearn", "lightning_fabric"}),
        ("tasks.evaluate", {"torchvision", "torchmetrics", "lightning_fabric", "sklearn"}),
        ("flows.serving.server", {"torch", "numpy", "fastapi", "prefect"}),
        ("flows.serving.app", {"torch", "numpy", "prefect", "dvc"}),
        ("genai_core.serving.frames", {"torch", "numpy", "pandas"}),
        ("genai_core.serving.shares", {"torch", "numpy", "pandas"}),
        ("genai_core.preference.bradley_terry", {"torch", "numpy", "pandas", "scipy"}),
        ("tasks.serve", {"torch", "prefect", "dvc"}),
        ("tasks.serving.worker", {"torchvision", "torchmetrics", "lightning_fabric", "sklearn", "prefect", "dvc"}),
        ("tasks.generate", {"torchvision", "torchmetrics", "lightning_fabric", "sklearn"}),
    ],
)
def test_commands_import_only_what_they_need(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
