"""The command `genai new`."""

import shlex
import shutil
import sys
from pathlib import Path

import click

INSTALLATION = Path(__file__).parents[1]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.pass_obj
def new(workspace: Path, folder: Path) -> None:
    """Make a workspace of your own in FOLDER, for another dataset.

    It is a git repository with this checkout's code, and none of its data, models, metrics and runs. It shares this
    installation's Python environment. The git remote `upstream` is for updates of the code.
    """
    from flows.new import new_workspace
    from flows.redact import without_secrets

    has_code = all((workspace / name).exists() for name in ("dvc.yaml", ".dvc", "genai_core"))
    made = new_workspace(folder, workspace if has_code else INSTALLATION)
    click.echo(f"{made.folder} is a new workspace, with the code of commit {made.code[:10]} and no data")
    click.echo(f"  Python environment: {Path(sys.prefix)}, shared")
    click.echo(f"  DVC cache: {made.folder / '.dvc' / 'cache'}, its own")
    click.echo(f"  updates of the code, from {without_secrets(made.upstream)}: {made.update_command}")
    click.echo("next:")
    command = shutil.which("genai")
    if command is None or Path(command).resolve() != (Path(sys.executable).parent / "genai").resolve():
        click.echo(f"  . {shlex.quote(str(Path(sys.executable).parent / 'activate'))}")
    click.echo(f"  cd {shlex.quote(str(made.folder))}")
    click.echo("  genai start SOURCE    # or in steps: genai data add SOURCE, genai init, genai plan, genai run")
