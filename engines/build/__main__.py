"""`python -m engines.build`."""

from deploy.cli import run_module
from engines.build import command

run_module(command)
