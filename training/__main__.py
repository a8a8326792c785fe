"""python -m training train | evaluate: from clean pictures to weights, and their figures."""

from __future__ import annotations

from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def main() -> None:
    """Train and measure the repair generator."""


@main.command()
@click.argument("config", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder of the checkpoint and the log.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="schedule.steps=100")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop, resumable, after so long.")
def train(config: Path, out: Path, overrides: tuple[str, ...], minutes: float | None) -> None:
    """Train as CONFIG (TOML) says; goes on where the folder's checkpoint stands."""
    from training.config import load_config
    from training.loop import train as run

    run(load_config(config, overrides), out, minutes)


@main.command()
@click.argument("checkpoint", type=FILE)
@click.option("--name", required=True, help="The released name, such as fast.")
@click.option("--out", type=FOLDER, default=Path("vidrepair/models"), show_default=True)
@click.option("--training-data", required=True, help="What it saw, and under which licences.")
@click.option("--notes", default="", help="Figures worth telling, kept in the model card.")
def publish(checkpoint: Path, name: str, out: Path, training_data: str, notes: str) -> None:
    """Release a CHECKPOINT's averaged weights as .safetensors and .onnx with their card."""
    from training.publish import publish as run

    files = run(checkpoint, name, out, training_data=training_data, notes=notes)
    click.echo(files.card.to_json())
    click.echo(files.safetensors)


if __name__ == "__main__":
    main()
