"""`python -m softswitch`: the command, where its script is not on the path."""

from softswitch.cli.main import run

run()
