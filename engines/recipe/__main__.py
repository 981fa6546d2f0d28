"""`python -m engines.recipe`."""

from deploy.cli import run_module
from engines.recipe import command

run_module(command)
