"""The command line: parse, call, print. One small file for each group of verbs (floor 6).

Exit codes: 0 done, 1 done with failures listed, 2 wrong usage or input.
"""

import logging
from typing import Annotated

import typer

import litakit
from litakit.cli.ask import ask
from litakit.cli.audit import audit
from litakit.cli.cache import app as cache_app
from litakit.cli.chat import chat
from litakit.cli.convert import convert
from litakit.cli.data import app as data_app
from litakit.cli.demo import demo
from litakit.cli.doctor import doctor
from litakit.cli.plan import plan

app = typer.Typer(
    name="litakit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"litakit {litakit.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say on stderr what is being done.")
    ] = False,
) -> None:
    """Ask a video "when?", and get the answer in seconds."""
    logging.basicConfig(format="litakit: %(message)s", level=logging.WARNING)
    logging.getLogger("litakit").setLevel(logging.INFO if verbose else logging.WARNING)


app.command()(ask)
app.command()(chat)
app.command()(audit)
app.command()(convert)
app.command()(demo)
app.command()(doctor)
app.command()(plan)
app.add_typer(cache_app)
app.add_typer(data_app)
