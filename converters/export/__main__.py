"""`python -m converters.export`."""

from converters.export import command
from deploy.cli import run_module

run_module(command)
