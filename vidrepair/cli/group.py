"""The group of commands: errors become exit codes here, and nowhere else."""

from __future__ import annotations

import json
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click

from vidrepair import __version__
from vidrepair.cli.analyze import analyze
from vidrepair.cli.batch import batch
from vidrepair.cli.bench import bench
from vidrepair.cli.compare import compare
from vidrepair.cli.doctor import doctor
from vidrepair.cli.engines import engines
from vidrepair.cli.estimate import estimate
from vidrepair.cli.grain import grain
from vidrepair.cli.interruption import INTERRUPTED, TERMINATED, Terminated, telling_lost
from vidrepair.cli.jobs import jobs
from vidrepair.cli.markers import markers
from vidrepair.cli.mask import mask
from vidrepair.cli.mistyped import say
from vidrepair.cli.preview import preview
from vidrepair.cli.probe import probe
from vidrepair.cli.progress import Messages
from vidrepair.cli.redo import redo
from vidrepair.cli.report import report
from vidrepair.cli.resume import resume
from vidrepair.cli.run import run
from vidrepair.cli.verify import verify
from vidrepair.errors import EngineError, VidrepairError
from vidrepair.tags import one_line

FIRST_SCREEN = """\
vidrepair gives a noisy, worn or damaged video back clean, with everything else in it kept.

  vidrepair tape.mp4 -o clean.mp4                  repair a film
  vidrepair preview tape.mp4 -o sheet.png          see a few frames before and after, first
  vidrepair batch tapes -P restored                a folder of films
  vidrepair resume clean.mp4                       go on with a run that was broken off
  vidrepair report clean.mp4 --against tape.mp4    what was done to it, as a page

vidrepair --help names all commands, vidrepair run --help what a run can be told.
"""


class Commands(click.Group):
    """`vidrepair IN -o OUT` is `vidrepair run IN -o OUT`; our errors end in their exit code."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:  # which a shell does to complete a word
            click.echo(FIRST_SCREEN, nl=False)
            ctx.exit()
        known = {*self.commands, "-h", "--help", "--version"}
        # Options first, or a file: a run. A mistyped command stays one, and is told so.
        if args and args[0] not in known and (args[0].startswith("-") or _is_file(args[0])):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        signal.signal(signal.SIGTERM, _terminate)
        try:
            with telling_lost():
                return super().main(*args, **{**kwargs, "standalone_mode": False})
        except VidrepairError as error:
            _fail(str(error), error.exit_code)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            _fail(say(error), error.exit_code)
        except MemoryError:
            _fail(
                "there is not enough memory; close other programs, or go on with less of it by"
                " --memory (megabytes)",
                EngineError.exit_code,
            )
        except OSError as error:
            about = str(error.filename or "a file")[-60:]
            _fail(f"{about}: {error.strerror or error}; check its name, disk and permissions", 1)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted; nothing was written under the final name", INTERRUPTED)
        except Terminated:
            _fail("terminated; nothing was written under the final name", TERMINATED)


def _is_file(name: str) -> bool:
    """Whether a first argument is meant as a file, there or not."""
    return "." in name or "/" in name or Path(name).exists()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _fail(message: str, code: int) -> None:
    """Say what went wrong, to wrappers that follow the progress as JSON, and end."""
    as_json = any(isinstance(kind, Messages) and kind.as_json for kind in logging.root.handlers)
    event = {"event": "error", "message": message, "exit": code}
    plain = "\n".join(map(one_line, message.split("\n")))
    click.echo(json.dumps(event) if as_json else f"vidrepair: {plain}", err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vidrepair")
def main() -> None:
    """Give a noisy video back clean, with everything else in it kept.

    vidrepair IN -o OUT is short for vidrepair run IN -o OUT.
    """


for command in (preview, estimate, run, batch, resume, redo, jobs, analyze, markers, mask, grain):
    main.add_command(command)
for command in (compare, report, verify, probe, bench, doctor, engines):
    main.add_command(command)
