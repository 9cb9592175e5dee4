"""The two commands, mounted as the command line mounts them."""

RUNNER = """
import sys, typer
from sigprobe.commands import config, init
app = typer.Typer()
app.add_typer(config.app, name="config")
app.command()(init.init)
@app.command()
def test(config: str = typer.Option("")) -> None:
    typer.echo(f"tested with {config}")
app(sys.argv[1:], prog_name="sigprobe")
"""
