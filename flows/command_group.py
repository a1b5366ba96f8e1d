"""The top level of the command line: errors, groups of commands, and `--workspace`."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import click

from flows.json_output import FLAG, print_error_json, reserved_stdout
from genai_core import GenaiError

EXIT_USAGE = 2
WORKSPACE = click.Path(exists=True, file_okay=False, path_type=Path)


class Commands(click.Group):
    """Prints expected errors as one line, without a traceback, and exits with a status.

    `--help` lists the commands in sections, in the order in which `add_section` was called.
    """

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self._sections: dict[str, tuple[str, ...]] = {}

    def add_section(self, title: str, commands: Mapping[str, click.Command]) -> None:
        """Add commands by name. All of them also accept `--workspace` after their own name."""
        self._sections[title] = tuple(commands)
        for name, command in commands.items():
            _accept_workspace(command)
            self.add_command(command, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        width = max(len(name) for names in self._sections.values() for name in names)
        for title, names in self._sections.items():
            with formatter.section(title):
                limit = formatter.width - width - 6
                rows = [(name.ljust(width), self.commands[name].get_short_help_str(limit)) for name in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        with reserved_stdout() if FLAG in ctx.args else nullcontext(), _errors(debug=ctx.params["debug"]):
            return super().invoke(ctx)


@contextmanager
def _errors(*, debug: bool) -> Iterator[None]:
    try:
        yield
    except GenaiError as error:
        print_error_json(str(error))
        if debug:
            raise
        _fail(str(error), EXIT_USAGE)
    except KeyboardInterrupt:
        print_error_json("interrupted")
        _fail("interrupted", 128 + signal.SIGINT)
    except click.ClickException as error:
        print_error_json(error.format_message())
        raise
    except SystemExit as end:
        if end.code:
            print_error_json(f"failed with exit status {end.code}; see standard error")
        raise
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:  # a bug: its traceback follows
        print_error_json(f"{type(error).__name__}: {error}")
        raise


def checkout_around(folder: Path) -> Path:
    """The nearest folder, from this one upwards, that has dvc.yaml and .dvc; this one if there is none."""
    above = (path for path in (folder, *folder.parents) if (path / "dvc.yaml").is_file() and (path / ".dvc").is_dir())
    return next(above, folder)


def set_workspace(context: click.Context, _option: click.Parameter, path: Path | None) -> None:
    """Make the value of `--workspace` the object of the context."""
    if path is not None:
        context.obj = path.resolve()


def _accept_workspace(command: click.Command) -> None:
    """Accept --workspace after the subcommand, too."""
    for inner in command.commands.values() if isinstance(command, click.Group) else ():
        _accept_workspace(inner)
    option = click.Option(["--workspace"], type=WORKSPACE, expose_value=False, callback=set_workspace, hidden=True)
    command.params.append(option)


def _fail(message: str, status: int) -> NoReturn:
    click.echo(click.style(message, fg="red"), err=True)
    sys.exit(status)
