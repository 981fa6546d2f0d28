"""`python -m deploy.verify`."""

from deploy.cli import run_module
from deploy.verify import command

run_module(command)
