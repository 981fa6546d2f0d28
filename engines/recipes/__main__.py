"""`python -m engines.recipes`."""

from deploy.cli import run_module
from engines.recipes import command

run_module(command)
