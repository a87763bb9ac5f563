"""Run the program `zprompt` as `python -m zprompt`, where it is not on the path."""

from zprompt.cli.main import app

app(prog_name="zprompt")
