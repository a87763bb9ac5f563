"""The program `zprompt`: its commands, its version, and how it fails.

Errors of zprompt and of the operating system become one message on stderr and exit code 1; a wrong option becomes exit
code 2. A missed ratio is one line on stderr. Typer ends quietly on a closed pipe and on Ctrl-C.
"""

from __future__ import annotations

import errno
import io
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zprompt.cli import ask, batch, bench, convert, inspect, serve, train
from zprompt.cli.messages import complain, warn
from zprompt.errors import RatioWarning, ZPromptError


class _Program(TyperGroup):
    """The group of all commands, which turns errors and missed ratios into messages."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # the Context is Click's or Typer's own, by Typer's version
        """Run the command; report errors of zprompt or the operating system, and exit with 1.

        :param ctx: The context.
        :return: What the command returns.
        :raises Exit: If the command failed.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):  # letters that the output's encoding lacks become "?"
            sys.stdout.reconfigure(errors="replace")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", RatioWarning)
                warnings.showwarning = _warning_printer(warnings.showwarning)
                return super().invoke(ctx)
        except (ZPromptError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:  # a closed pipe
                raise
            if ctx.params["debug"]:
                traceback.print_exc()
            complain(_message(error))
            raise typer.Exit(1) from error


def _warning_printer(python: Callable[..., None]) -> Callable[..., None]:
    """Return a function that prints a RatioWarning as one line, and other warnings as Python does."""

    def show(message: Warning | str, category: type[Warning], *place: Any) -> None:  # noqa: ANN401 - Python's own
        if issubclass(category, RatioWarning):
            warn(f"{message}.")
        else:
            python(message, category, *place)

    return show


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    return str(error)


app = typer.Typer(
    name="zprompt",
    cls=_Program,
    help="Compress text to Z-tokens and back, exactly, with one small language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _group in (convert, batch, inspect, ask, serve, train, bench):
    app.add_typer(_group.app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from zprompt import __version__

        typer.echo(f"zprompt {__version__}")
        raise typer.Exit


@app.callback()
def _set_up(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="ZPROMPT_DEBUG", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
