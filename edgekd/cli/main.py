"""The command: parse, call, print. Each command lives in its own module and imports what it needs when called."""

import logging
import sys
from typing import NoReturn

import typer

from edgekd.cli.bench import bench
from edgekd.cli.bundle import app as bundle
from edgekd.cli.check import baseline_app, check
from edgekd.cli.export import export
from edgekd.cli.init import init
from edgekd.cli.lint import lint
from edgekd.cli.predict import predict
from edgekd.cli.profile import profile
from edgekd.cli.recipe import app as recipe
from edgekd.cli.run import run
from edgekd.errors import EdgekdError, first_line

INTERRUPTED = 130

app = typer.Typer(
    name="edgekd",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Distil, prune and quantise a network for the device it must run on, and prove that it still passes.",
    epilog="Exit codes: 0 done; 1 a mistake in the use or in a tool; 2 the budget or the gate is not met; "
    "3 not comparable; 130 interrupted, resumable. --debug anywhere shows the traceback of an error.",
)


@app.callback()
def options() -> None: ...


app.command()(run)
app.command()(init)
app.add_typer(recipe, name="recipe")
app.command()(export)
app.command()(bench)
app.command()(profile)
app.command()(lint)
app.command()(check)
app.add_typer(baseline_app, name="baseline")
app.add_typer(bundle, name="bundle")
app.command()(predict)


def main() -> NoReturn:
    # torchao's registration of its enums is answered by a warning that no user can act on.
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(arguments, prog_name="edgekd", standalone_mode=False)
    except typer.TyperException as error:
        fail(error.format_message() + "; 'edgekd --help' lists the commands", error.exit_code and 1)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        sys.exit(INTERRUPTED)
    except EdgekdError as error:
        if debug:
            raise
        fail(str(error), error.exit_code)
    except Exception as error:  # the last net: no traceback reaches a user who did not ask for it
        if debug:
            raise
        fail(unexpected(error), 1)
    sys.exit(code if isinstance(code, int) else 0)


def unexpected(error: Exception) -> str:
    reason = f"{type(error).__name__}: {first_line(error)}"
    if "out of memory" in str(error).lower():
        return f"{reason}; lower data.batch_size, or free memory"
    return f"{reason}; edgekd did not expect that: --debug shows where it happened, please report it"


def fail(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(code)
