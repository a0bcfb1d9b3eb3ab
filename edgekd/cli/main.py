"""The command: parse, call, print. Each command lives in its own module, which is imported where it is called."""

import errno
import re
import sys
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.main import get_command, get_group

from edgekd.cli.output import hand_over, not_written, open_closed_streams
from edgekd.errors import EdgekdError, first_line
from edgekd.log import for_stream

OVERVIEW = """\
edgekd makes a network small and fast for the device it must run on,
and measures that it still predicts as well.

  train and compress   fit, sweep, run, init, recipe, report
  write a file         export, bundle
  measure              bench, profile, lint, devices
  guard in CI          check, baseline
  predict              predict

Begin with:
  edgekd init                 write recipe.yaml, to be filled in
  edgekd fit recipe.yaml      find the fastest student within the budget
  edgekd run recipe.yaml      train, compress, measure, bundle

edgekd --help lists all commands; edgekd COMMAND -h explains one.
"""
INTERRUPTED = 130
REFUSED = (errno.EACCES, errno.ELOOP, errno.ENAMETOOLONG, errno.EPERM)
FULL = (errno.ENOSPC, errno.EDQUOT)
HELP = ("-h", "--help")
SENTENCE = re.compile(r"(?<=\.)\s")
# By the order of the help: the module under edgekd.cli, and the function or group of commands in it.
COMMANDS = {
    "fit": ("fit", "fit"),
    "sweep": ("sweep", "sweep"),
    "run": ("run", "run"),
    "init": ("init", "init"),
    "recipe": ("recipe", "app"),
    "report": ("report", "report"),
    "export": ("export", "export"),
    "bench": ("bench", "bench"),
    "profile": ("profile", "profile"),
    "devices": ("devices", "app"),
    "lint": ("lint", "lint"),
    "check": ("check", "check"),
    "baseline": ("check", "baseline_app"),
    "bundle": ("bundle", "app"),
    "predict": ("predict", "predict"),
}


def application() -> typer.Typer:
    """Return the command with all its subcommands."""
    app = typer.Typer(
        name="edgekd",
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        help="Distil, prune and quantise a network for the device it must run on, and prove that it still passes.",
        epilog="Exit codes: 0 done; 1 a usage error or a failing tool; 2 the budget or the gate is not met; "
        "3 not comparable; 130 interrupted, or 143 by SIGTERM: resumable. --debug anywhere shows an error's traceback.",
    )
    app.callback()(start)
    for name in COMMANDS:
        found = subcommand(name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print edgekd's version and exit.")] = False,
) -> None:
    if version:
        from edgekd import __version__

        sys.stdout.write(f"edgekd {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        sys.stdout.write(OVERVIEW)


def subcommand(name: str) -> Any:
    """Return the function of a command, or its group of commands."""
    module, attribute = COMMANDS[name]
    return getattr(import_module(f"edgekd.cli.{module}"), attribute)


def with_whole_summaries(command: Any) -> Any:
    """Let the list of subcommands have their first sentences whole, which it else cuts short."""
    for each in getattr(command, "commands", {}).values():
        each.short_help = SENTENCE.split(" ".join((each.help or "").split()))[0]
    return command


def alone(name: str) -> Callable[..., Any]:
    """Return one subcommand as a command of its own: those that are not called need not be built."""
    found = subcommand(name)
    if isinstance(found, typer.Typer):
        return with_whole_summaries(get_group(found))
    app = typer.Typer(add_completion=False)
    app.command(name)(found)
    return get_command(app)


def main() -> NoReturn:
    """Run the command of this process's arguments, and end with its exit code."""
    open_closed_streams()
    try:
        call()
    except SystemExit as end:
        sys.exit(hand_over(end.code if isinstance(end.code, int) else 0))


def call() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # File names may hold bytes that are no text, and a terminal may know less than Unicode.
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        if arguments and arguments[0] in COMMANDS:
            name, *arguments = arguments
            command, called = alone(name), f"edgekd {name}"
            if not arguments and COMMANDS[name][1].endswith("app"):
                arguments = ["--help"]
        else:
            command, called = with_whole_summaries(get_command(application())), "edgekd"
        code = command(arguments, prog_name=called, standalone_mode=False, help_option_names=HELP)
    except typer.TyperException as error:
        way_out = f"'{called} --help' explains it" if " " in called else "'edgekd --help' lists the commands"
        fail(f"{error.format_message().rstrip('.')}; {way_out}", error.exit_code and 1)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except EdgekdError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except Exception as error:  # the last net: no traceback reaches a user who did not ask for it
        if debug:
            raise
        fail(unexpected(error), 1)
    if code == INTERRUPTED:  # what typer makes of Ctrl-C too, in silence
        sys.stderr.write("\ninterrupted\n")
    sys.exit(code if isinstance(code, int) else 0)


def unexpected(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        from edgekd.extras import how_to_install

        if advice := how_to_install(error.name):
            return advice
    # The system refuses to look at a path that the user gave.
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename:
        return f"{error.filename}: {error.strerror}; give another path, or mend that"
    # Files are written where their names are known.
    if isinstance(error, OSError) and error.errno in FULL and not error.filename:
        return not_written(error)
    reason = f"{type(error).__name__}: {first_line(error)}"
    if "out of memory" in str(error).lower():
        return f"{reason}; lower data.batch_size, or free memory"
    return f"{reason}; edgekd did not expect that: --debug shows where it happened, please report it"


def fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(for_stream(sys.stderr, f"error: {message}") + "\n")
    sys.exit(code)
