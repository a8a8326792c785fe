"""python -m training: from clean pictures to weights, and their figures."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

import click

from training.scoring import COMMANDS, FILE
from training.ticker import to_stderr
from vidrepair.errors import VidrepairError
from vidrepair.files import same_file

FOLDER = click.Path(file_okay=False, path_type=Path)


class _Group(click.Group):
    """Says in one sentence what cannot be done, as ValueError and our own errors tell it."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (ValueError, VidrepairError) as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # who reads has gone: click ends without a word
        except OSError as error:
            what = f"{error.filename or 'a file'}: {error.strerror or error}"
            raise click.ClickException(f"{what}; check its name, disk and permissions") from error
        except KeyboardInterrupt:
            to_stderr("interrupted")
            sys.exit(128 + signal.SIGINT)


@click.group(cls=_Group)
def main() -> None:
    """Train and measure the repair generator."""


for _command in COMMANDS:
    main.add_command(_command)


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
    """Train as CONFIG (TOML) says; goes on where the folder's checkpoint stands.

    Ctrl-C and SIGTERM save what was learned and end it; the same command goes on.
    """
    from training.config import load_config
    from training.interruption import listening
    from training.loop import train as run
    from training.ranks import writes

    settings = load_config(config, overrides)
    with listening() as asked:
        steps = run(settings, out, minutes, asked=asked, tell=to_stderr)
    whole = settings.schedule.steps
    if writes():
        goes_on = "" if steps == whole else "; the same command goes on"
        with suppress(OSError):  # who reads may have gone, and the exit code counts
            click.echo(f"{out / 'checkpoint.pt'}: {steps} of {whole} steps{goes_on}")
    if asked.number:
        sys.exit(asked.exit_code)


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
    help="Of the two nets, each; about a tenth of a second on two free cores.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a PNG.")
@click.option("--clean", type=FILE, help="FOOTAGE without its grain: compare with the truth, too.")
def grain_gan(
    footage: Path,
    out: Path,
    kind: str,
    steps: int,
    seed: int,
    plot: Path | None,
    clean: Path | None,
    *,
    gray: bool,
) -> None:
    """Learn the grain of FOOTAGE from its flat, still areas, in three ways; keep the best.

    A generative adversarial net, a variational autoencoder and an autoregressive filter are
    compared on areas that none of them saw.
    """
    from training.grain_figure import draw_grain, require_matplotlib
    from training.grain_gan import GrainSettings, against_truth, learn_grain, table
    from training.grain_patches import find_patches, true_patches

    _check_target(out, ".safetensors", footage, clean)
    if plot is not None:
        _check_target(plot, ".png", footage, clean)
        require_matplotlib()
    patches = find_patches(footage, gray=gray)
    truth = None if clean is None else true_patches(footage, clean, patches.deviation)
    to_stderr(
        f"{footage}: {len(patches.grain)} patches of grain, {255.0 * patches.deviation:.1f}/255"
    )
    settings = GrainSettings(steps=steps, seed=seed)
    trials, chosen = learn_grain(patches, out, settings, kind=kind, tell=to_stderr)
    click.echo(table(trials))
    real = trials[0].real
    sets = {"real": (real.grain, real.level)}
    sets |= {trial.told(): (trial.drawn, real.level) for trial in trials}
    if truth is not None:
        sets["truth"] = (truth.grain, truth.level)
        click.echo(f"against the truth\n\n{table(against_truth(trials, truth, seed))}")
    if plot is not None:
        draw_grain(plot, sets)
    click.echo(f"{out}: {chosen.grain.kind}")
    if not chosen.likeness.keeps:
        click.echo("it is beyond its bounds: raise --steps, or give more footage", err=True)


def _check_target(path: Path, ending: str, *read: Path | None) -> None:
    """Before minutes of learning: its ending, and that a file that is read is not written over."""
    if any(one is not None and same_file(one, path) for one in read):
        raise click.UsageError(f"{path} is a file that is read; choose another name")
    if path.suffix != ending:
        raise click.UsageError(f"{path} has to end in {ending}")
    path.parent.mkdir(parents=True, exist_ok=True)


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
    """Release a CHECKPOINT's averaged weights as .safetensors and .onnx with their card.

    What the folder has under that name is replaced.
    """
    from training.publish import Blend
    from training.publish import publish as run

    if percent is None and fidelity is not None:
        raise click.UsageError("--fidelity names what to blend with; give --blend, too")
    blend = None if percent is None else Blend(percent, fidelity)
    files = run(
        *(checkpoint, name, out),
        training_data=training_data,
        notes=notes,
        blend=blend,
        tell=to_stderr,
    )
    card = files.card
    click.echo(f"{files.safetensors}: {card.name}, size {card.size}, sha256 {card.sha256[:16]}")
    if blend is not None:
        click.echo(str(card.training["notes"]))
    click.echo("the two graphs lie beside it; use it by vidrepair run --model, with that path")


@main.command()
@click.argument("checkpoint", type=FILE)
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def trunk(checkpoint: Path, out: Path) -> None:
    """Keep a CHECKPOINT's weights in OUT, in half precision, for a later start_from."""
    from training.checkpoint import write_trunk

    write_trunk(checkpoint, out)


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

    _check_target(out, ".png")
    click.echo(f"{out}: {draw_sheet(load_config(config).data, out)} degradations")


if __name__ == "__main__":
    main()
