"""python -m training: from clean pictures to weights, and their figures."""

from __future__ import annotations

from pathlib import Path

import click

from vidrepair.errors import VidrepairError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class _Group(click.Group):
    """Says in one sentence what cannot be done, as ValueError and our own errors tell it."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (ValueError, VidrepairError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group)
def main() -> None:
    """Train and measure the repair generator."""


@main.command()
@click.argument("config", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="An empty folder, or none yet.")
@click.option("--max-mb", type=click.FloatRange(min=0), default=30.0, show_default=True)
def pack(config: Path, out: Path, max_mb: float) -> None:
    """Copy what CONFIG trains on, or a choice of it, into a folder that can travel."""
    from training.config import load_config
    from training.pack import pack as run

    for packed in run(load_config(config).data, out, max_mb):
        click.echo(packed.summary())


@main.command()
@click.argument("config", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder of the pairs, for data.pairs.")
@click.option(
    "--count", type=click.IntRange(min=1), default=120, show_default=True, help="How many pairs."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of everything drawn."
)
def encode_pairs(config: Path, out: Path, count: int, seed: int) -> None:
    """Encode noisy showings of CONFIG as H.264 and MPEG-2, some of the streams broken."""
    from training.config import load_config
    from training.encoding import encode_pairs as run

    written = list(run(load_config(config).data, out, count, seed))
    megabytes = sum(path.stat().st_size for path in written) / 1e6
    click.echo(f"{out}: {len(written)} pairs, {megabytes:.1f} MB")


@main.command()
@click.argument("config", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder of the checkpoint and the log.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="""Such as schedule.steps=100 or data.clips=["clips"].""",
)
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop, resumable, after so long.")
def train(config: Path, out: Path, overrides: tuple[str, ...], minutes: float | None) -> None:
    """Train as CONFIG (TOML) says; goes on where the folder's checkpoint stands."""
    from training.config import load_config
    from training.loop import train as run

    settings = load_config(config, overrides)
    steps = run(settings, out, minutes)
    click.echo(f"{out}: {steps} of {settings.schedule.steps} steps")


@main.command()
@click.argument("footage", type=FILE)
@click.option(
    "-o",
    "--output",
    "out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The learned grain, .safetensors, for data.grains.",
)
@click.option(
    "--kind",
    type=click.Choice(["best", "gan", "vae", "autoregressive"]),
    default="best",
    show_default=True,
    help="Which of the models to keep.",
)
@click.option("--gray", is_flag=True, help="A model of luma alone, for gray footage.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=1500,
    show_default=True,
    help="Of the two nets, each; a tenth of a second or less.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def grain_gan(footage: Path, out: Path, kind: str, steps: int, seed: int, *, gray: bool) -> None:
    """Learn the grain of FOOTAGE from its flat, still areas, in three ways; keep the best.

    A generative adversarial net, a variational autoencoder and an autoregressive filter are
    compared on areas that none of them saw.
    """
    from training.grain_gan import GrainSettings, learn_grain, table

    settings = GrainSettings(steps=steps, seed=seed)
    trials, chosen = learn_grain(footage, out, settings, kind=kind, gray=gray)
    click.echo(table(trials))
    click.echo(f"{out}: {chosen.grain.kind}")
    if not chosen.likeness.keeps:
        click.echo("it is beyond its bounds: raise --steps, or give more footage", err=True)


@main.command()
@click.argument("checkpoint", type=FILE)
@click.option("--name", required=True, help="The released name, such as fast.")
@click.option("--out", type=FOLDER, default=Path("vidrepair/models"), show_default=True)
@click.option("--training-data", required=True, help="What it saw, and under which licences.")
@click.option("--notes", default="", help="Figures worth telling, kept in the model card.")
@click.option(
    "--blend",
    "percent",
    type=click.FloatRange(0, 100),
    help="Weights in between: 0 is fidelity, 100 the CHECKPOINT.",
)
@click.option(
    "--fidelity", type=FILE, help="What to blend with; what CHECKPOINT started from if unset."
)
def publish(
    checkpoint: Path,
    name: str,
    out: Path,
    training_data: str,
    notes: str,
    percent: float | None,
    fidelity: Path | None,
) -> None:
    """Release a CHECKPOINT's averaged weights as .safetensors and .onnx with their card."""
    from training.publish import Blend
    from training.publish import publish as run

    if percent is None and fidelity is not None:
        raise click.UsageError("--fidelity names what to blend with; give --blend, too")
    blend = None if percent is None else Blend(percent, fidelity)
    files = run(checkpoint, name, out, training_data=training_data, notes=notes, blend=blend)
    click.echo(files.card.to_json())
    click.echo(files.safetensors)


@main.command()
@click.argument("checkpoint", type=FILE)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def trunk(checkpoint: Path, out: Path) -> None:
    """Keep a CHECKPOINT's weights in OUT, in half precision, for a later start_from."""
    from training.checkpoint import write_trunk

    write_trunk(checkpoint, out)


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
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
        model = protocol.load_checkpoint(checkpoint)
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


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
@click.option(
    "--blend", type=click.FloatRange(0, 100), multiple=True, help="Also of the first and the last."
)
@click.option("--frames", type=click.IntRange(min=3), default=24, show_default=True)
def evaluate_texture(
    folder: Path, checkpoints: tuple[Path, ...], blend: tuple[float, ...], frames: int
) -> None:
    """Score what CHECKPOINTS leave of texture at noise of deviation 30 and 50, beside PSNR.

    Fidelity first and natural last, such as training/trunks/fast.pt runs/natural/checkpoint.pt.
    """
    from training import texture

    restores = texture.restores_of(checkpoints, blend)
    found = list(texture.measure_texture(folder, restores, texture.SIGMAS, frames))
    click.echo(texture.table(found))


@main.command()
@click.argument("film", type=FILE)
@click.argument("checkpoints", type=FILE, nargs=-1, required=True)
def evaluate_unseen(film: Path, checkpoints: tuple[Path, ...]) -> None:
    """Score how well CHECKPOINTS foretell frames of FILM that they never saw: no clean film needed.

    Gains count against the first checkpoint.
    """
    from training import unseen
    from training.evaluate import load_checkpoint

    models = {f"{path.parent.name}/{path.name}": load_checkpoint(path) for path in checkpoints}
    try:
        found = unseen.foretell(film, models)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{found[0].seen:.0%} of the samples of {len(found[0].errors)} frames\n")
    click.echo(unseen.table(found))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--command", required=True, help="A command line with {in} and {out}.")
@click.option("--reference", is_flag=True, help="FFmpeg's nlmeans at its best beside it.")
def evaluate_coded(folder: Path, command: str, *, reference: bool) -> None:
    """Score noise of deviation 10 that was coded, removed blind, on the clips of FOLDER."""
    from training import coded, references

    if reference and not references.can_run():
        click.echo("nlmeans is missing: this machine has no ffmpeg", err=True)
        reference = False
    click.echo(coded.table(coded.evaluate_coded(folder, command, reference=reference)))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("checkpoint", type=FILE)
@click.argument("damage", type=FILE)
@click.option(
    "--shapes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of opacity pictures of marks.",
)
def evaluate_damage(folder: Path, checkpoint: Path, damage: Path, shapes: Path | None) -> None:
    """Score the raw defect map and fill on the clean clips of FOLDER.

    DAMAGE is the fixed set, training/configs/eval-damage.toml. Without --shapes, a folder of
    opacity pictures, the marks are drawn ones.
    """
    from training import defects
    from training.damage_set import load_damage_set, load_marks
    from training.evaluate import load_checkpoint

    marks = load_marks(shapes)
    found = defects.measure_defects(
        folder, load_checkpoint(checkpoint), load_damage_set(damage), marks
    )
    click.echo(defects.table(found))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("damage", type=FILE)
@click.option(
    "--shapes",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
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


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
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


@main.command()
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


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--command", required=True, help="A command line with {in}, {out} and {s}.")
def evaluate_harm(folder: Path, command: str) -> None:
    """Score what is done to the clean clips of FOLDER, told of no noise ({s} is 0) and blind."""
    from training import harm

    click.echo(harm.table(harm.measure_harm(folder, command)))


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=FOLDER, required=True, help="Folder of the pictures.")
@click.option("--command", required=True, help="A command line with {in} and {out}.")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    default=48,
    show_default=True,
    help="So many from the start; {frames} in the command.",
)
def before_after(folder: Path, out: Path, command: str, frames: int) -> None:
    """Restore every film of FOLDER; draw what changed most in its first frames, to look at."""
    from training.before_after import draw_before_after

    for path in draw_before_after(folder, out, command, frames):
        click.echo(path)


@main.command()
@click.argument("config", type=FILE)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def show_degradations(config: Path, out: Path) -> None:
    """Draw every degradation, on clips of CONFIG, as one contact sheet OUT (PNG)."""
    from training.config import load_config
    from training.sheet import draw_sheet

    click.echo(f"{out}: {draw_sheet(load_config(config).data, out)} degradations")


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("checkpoint", type=FILE)
@click.option("--sigma", type=float, default=30.0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a PNG.")
def positions(folder: Path, checkpoint: Path, sigma: float, plot: Path | None) -> None:
    """Measure PSNR by position in the span, after a cut, and the steps at span borders."""
    from training import evaluate as protocol
    from training import positions as measure

    found = measure.measure_positions(folder, protocol.load_checkpoint(checkpoint), sigma)
    click.echo(measure.table(found))
    if plot is not None:
        measure.draw(found, plot)


if __name__ == "__main__":
    main()
