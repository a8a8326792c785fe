"""The commands that score weights and tools, one for each protocol."""

from __future__ import annotations

from pathlib import Path

import click

from training.ticker import to_stderr

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CLIPS = click.Path(exists=True, file_okay=False, path_type=Path)
"""A folder that is there."""


@click.command()
@click.argument("folder", type=CLIPS)
@click.option("--checkpoint", type=FILE, help="A training's checkpoint, run by torch.")
@click.option("--command", help="A command line with {in}, {out} and {s} instead.")
@click.option(
    "--sigma",
    "sigmas",
    type=float,
    multiple=True,
    default=(10.0, 30.0, 50.0),
    show_default=True,
    help="Deviation of the noise, 8-bit scale.",
)
@click.option("--cold", is_flag=True, help="Start from a zero state, without mirrored frames.")
@click.option("--references", is_flag=True, help="The noisy input, nlmeans and hqdn3d beside it.")
def evaluate(
    folder: Path,
    checkpoint: Path | None,
    command: str | None,
    sigmas: tuple[float, ...],
    *,
    cold: bool,
    references: bool,
) -> None:
    """Score known noise on the clean clips of FOLDER: PSNR per clip, a Markdown table."""
    from training import evaluate as protocol
    from training.references import NAMES, reference_restores

    if (checkpoint is None) == (command is None):
        raise click.UsageError("give --checkpoint or --command, one of them")
    if checkpoint is not None:
        model = protocol.load_network(checkpoint)
        restore = protocol.generator_restore(model, mirrored=not cold)
    else:
        restore = protocol.command_restore(command or "")
    scores = protocol.evaluate(folder, restore, sigmas)
    click.echo(protocol.table(scores))
    if references:
        others = reference_restores()
        rows = {name: protocol.evaluate(folder, one, sigmas) for name, one in others.items()}
        click.echo(f"\n{protocol.summary({'restored': scores} | rows)}")
        if missing := sorted(set(NAMES) - set(others)):
            click.echo(f"{', '.join(missing)}: missing, this machine has no ffmpeg")


@click.command()
@click.argument("folder", type=CLIPS)
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
@click.option(
    "--blend", type=click.FloatRange(0, 100), multiple=True, help="Also of the first and the last."
)
@click.option("--frames", type=click.IntRange(min=3), default=24, show_default=True)
def evaluate_texture(
    folder: Path, checkpoints: tuple[Path, ...], blend: tuple[float, ...], frames: int
) -> None:
    """Score what CHECKPOINTS leave of texture at noise of deviation 30 and 50, beside PSNR.

    Fidelity first and natural last, such as training/trunks/fast.pt runs/natural/checkpoint.pt, or
    vidrepair/models/fast.safetensors and fast-natural.safetensors.
    """
    from training import texture

    if blend and len(checkpoints) < 2:
        raise click.UsageError("--blend lies between two; name the second checkpoint, too")
    restores = texture.restores_of(checkpoints, blend)
    found = list(texture.measure_texture(folder, restores, texture.SIGMAS, frames))
    click.echo(texture.table(found))


@click.command()
@click.argument("film", type=FILE)
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
def evaluate_unseen(film: Path, checkpoints: tuple[Path, ...]) -> None:
    """Score how well CHECKPOINTS foretell frames of FILM that they never saw: no clean film needed.

    Gains count against the first checkpoint.
    """
    from training import unseen
    from training.evaluate import load_network

    models = {f"{path.parent.name}/{path.name}": load_network(path) for path in checkpoints}
    found = unseen.foretell(film, models, to_stderr)
    click.echo(f"{found[0].seen:.0%} of the samples of {len(found[0].errors)} frames\n")
    click.echo(unseen.table(found))


@click.command()
@click.argument("folder", type=CLIPS)
@click.option("--command", required=True, help="A command line with {in} and {out}.")
@click.option("--reference", is_flag=True, help="FFmpeg's nlmeans at its best beside it.")
def evaluate_coded(folder: Path, command: str, *, reference: bool) -> None:
    """Score noise of deviation 10 that was coded, removed blind, on the clips of FOLDER."""
    from training import coded, references

    if reference and not references.can_run():
        click.echo("nlmeans is missing: this machine has no ffmpeg", err=True)
        reference = False
    click.echo(coded.table(coded.evaluate_coded(folder, command, reference=reference)))


@click.command()
@click.argument("folder", type=CLIPS)
@click.argument("checkpoint", type=FILE)
@click.argument("damage", type=FILE)
@click.option(
    "--shapes",
    type=CLIPS,
    help="Folder of opacity pictures of marks.",
)
def evaluate_damage(folder: Path, checkpoint: Path, damage: Path, shapes: Path | None) -> None:
    """Score the raw defect map and fill on the clean clips of FOLDER.

    DAMAGE is the fixed set, training/configs/eval-damage.toml. Without --shapes, a folder of
    opacity pictures, the marks are drawn ones.
    """
    from training import defects
    from training.damage_set import load_damage_set, load_marks
    from training.evaluate import load_network

    marks = load_marks(shapes)
    found = defects.measure_defects(
        folder, load_network(checkpoint), load_damage_set(damage), marks
    )
    click.echo(defects.table(found))


@click.command()
@click.argument("folder", type=CLIPS)
@click.argument("damage", type=FILE)
@click.option(
    "--shapes",
    type=CLIPS,
    help="Folder of opacity pictures of marks.",
)
@click.option("--command", required=True, help="A command line with {in}, {out} and {matte}.")
@click.option("--deflicker", help="Also a command line with {in} and {out}, for made flicker.")
def evaluate_repair(
    folder: Path, damage: Path, shapes: Path | None, command: str, deflicker: str | None
) -> None:
    """Score what a tool makes of damage on the clean clips of FOLDER, and of the clean clips.

    DAMAGE is the fixed set, training/configs/eval-damage.toml. Classical filters stand beside it.
    """
    from training import repairs
    from training.damage_set import load_damage_set, load_marks
    from training.references import DAMAGE_NAMES, FLICKER_NAMES

    found = repairs.measure_repairs(folder, command, load_damage_set(damage), load_marks(shapes))
    click.echo(repairs.table(found))
    missing = set(DAMAGE_NAMES) - set(found)
    if deflicker is not None:
        steadied = repairs.measure_flicker(folder, deflicker)
        click.echo(f"\n{repairs.flicker_table(steadied)}")
        missing |= set(FLICKER_NAMES) - set(steadied)
    if missing:
        click.echo(f"{', '.join(sorted(missing))}: missing, this machine has no ffmpeg")


@click.command()
@click.argument("folder", type=CLIPS)
@click.option("--command", required=True, help="A command line with {in}, {out} and {matte}.")
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Deviation of white noise put on the clips, 8-bit scale.",
)
def evaluate_innocents(folder: Path, command: str, noise: float) -> None:
    """Count what a tool takes for damage and is none, on the clean clips of FOLDER.

    Small things that move, rain, sparks, glints and flashes are put in; those that the matte
    leaves alone survive. The command should leave the noise, as --denoise 0 does.
    """
    from training import innocents

    click.echo(innocents.table(innocents.measure_innocents(folder, command, noise)))


@click.command()
@click.argument("films", type=FILE, nargs=-1, required=True)
@click.option("--command", required=True, help="A command line with {in}, {out} and {options}.")
@click.option(
    "--made",
    type=click.Choice(["fine", "coarse"]),
    help="The films are clean: give them this grain, which is then known.",
)
def evaluate_grain(films: tuple[Path, ...], command: str, made: str | None) -> None:
    """Score the grain over repaired dust, and grain taken away and put back, on each of FILMS."""
    from training import grain_protocol

    found = [grain_protocol.measure_grain(film, command, made) for film in films]
    click.echo(grain_protocol.table(found))


@click.command()
@click.argument("folder", type=CLIPS)
@click.option("--command", required=True, help="A command line with {in}, {out} and {s}.")
def evaluate_harm(folder: Path, command: str) -> None:
    """Score what is done to the clean clips of FOLDER, told of no noise ({s} is 0) and blind."""
    from training import harm

    click.echo(harm.table(harm.measure_harm(folder, command)))


@click.command()
@click.argument("folder", type=CLIPS)
@click.argument("checkpoint", type=FILE)
@click.option("--sigma", type=float, default=30.0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a PNG.")
def positions(folder: Path, checkpoint: Path, sigma: float, plot: Path | None) -> None:
    """Measure PSNR by position in the span, after a cut, and the steps at span borders."""
    from training import evaluate as protocol
    from training import positions as measure

    found = measure.measure_positions(folder, protocol.load_network(checkpoint), sigma)
    click.echo(measure.table(found))
    if plot is not None:
        measure.draw(found, plot)


COMMANDS = (
    evaluate,
    evaluate_texture,
    evaluate_unseen,
    evaluate_coded,
    evaluate_damage,
    evaluate_repair,
    evaluate_innocents,
    evaluate_grain,
    evaluate_harm,
    positions,
)
"""All of them, for `python -m training`."""
