"""Errors of a command line in our words: what it lacks, what may have been meant, where to look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches

import click

ALIKE = 0.75
"""Share of two words that must be the same for one to be taken for the other, mistyped."""
MOST_OWNERS = 3
"""Commands that are named for an option; what more have says nothing."""


def say(error: click.ClickException) -> str:
    """A sentence, as our own errors are."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        return f"no such option {error.option_name!r}; {_meant(error.option_name, error.ctx)}"
    said = error.format_message().rstrip(".")
    said = said[:1].lower() + said[1:]
    guess = re.fullmatch(r"(.*)\. \(?Did you mean (.*\?)\)?", said)
    if guess is not None:
        return f"{guess[1]}; did you mean {guess[2]}"
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return said
    if isinstance(error, click.MissingParameter):
        usage = error.ctx.get_usage().split(maxsplit=1)[1]
        return f"{said}; it is {' '.join(usage.split())}"
    return f"{said}; see {error.ctx.command_path} --help"


def _meant(word: str, context: click.Context) -> str:
    """The command that has it, or the option that is spelled like it."""
    tool, here = context.find_root().command, context.command
    if word in _options(tool):
        return f"it is vidrepair {word}"
    commands = dict(_commands(tool))
    if word.removeprefix("--") in commands:
        return f"it is vidrepair {word.removeprefix('--')}"
    help_is = f"see {context.command_path} --help"
    owners = [name for name, command in commands.items() if word in _options(command)]
    inner = [name for name in owners if name.startswith(f"{here.name} ")]
    if inner:
        owners = inner
    elif "run" in owners:
        owners = ["run"]  # what many have, run has too
    if 0 < len(owners) <= MOST_OWNERS:
        named = " and ".join(f"vidrepair {name}" for name in owners)
        return f"{named} {'has' if len(owners) == 1 else 'have'} it; {help_is}"
    # Options alone are those of run, and may be meant for the tool itself.
    own = [*_options(here), *(_options(tool) if here.name == "run" else [])]
    near = get_close_matches(word, own, n=1, cutoff=ALIKE)
    return f"did you mean {near[0]!r}?" if near else help_is


def _commands(command: click.Command, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """What a command is made of, by the words that call it."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield f"{before}{name}", inner
            yield from _commands(inner, f"{before}{name} ")


def _options(command: click.Command) -> list[str]:
    """As they are written in full, but for those that nobody is told of."""
    told = (one for one in command.params if isinstance(one, click.Option) and not one.hidden)
    written = [word for one in told for word in (*one.opts, *one.secondary_opts)]
    return [word for word in (*written, "--help") if word.startswith("--")]
