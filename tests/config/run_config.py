"""The command line with a `test` that measures nothing, so that `init` can hand over to it."""

RUNNER = """
import sys
from sigprobe import cli
from sigprobe.commands import test as module
from sigprobe.commands.support.command_result import CommandResult
from sigprobe.commands.support.options import ConfigOption

def test(*, config: ConfigOption = None) -> CommandResult:
    sys.stdout.write(f"tested with {config}\\\\n")
    return CommandResult()

module.test = test
sys.exit(cli.run(sys.argv[1:]))
"""
