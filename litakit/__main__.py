"""``python -m litakit``: the command line."""

from litakit.cli import app

app(prog_name="litakit")
