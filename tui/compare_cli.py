"""x."""

import click


@click.command()
def compare() -> None:
    """X."""
