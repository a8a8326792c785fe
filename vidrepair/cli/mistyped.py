"""Errors of a command line in our words: what it lacks, what may have been meant, where to look."""

from __future__ import annotations

import re
from difflib import get_close_matches

import click

ALIKE = 0.75
"""Share of two words that must be the same for one to be taken for the other, mistyped."""


def say(error: click.ClickException) -> str:
    """A sentence, as our own errors are."""
    said = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        return f"no such option {error.option_name!r}; {_meant(error.option_name, error.ctx)}"
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
    group = context.find_root().command
    help_is = f"see {context.command_path} --help"
    others = group.commands.items() if isinstance(group, click.Group) else ()
    owners = [name for name, command in others if word in _options(command)]
    if owners:
        # What many have, run has too.
        return f"vidrepair {'run' if 'run' in owners else owners[0]} has it; {help_is}"
    # Options alone are those of run, and may be meant for the tool itself.
    own = [*_options(context.command), *_options(group)]
    near = get_close_matches(word, own, n=1, cutoff=ALIKE)
    return f"did you mean {near[0]!r}?" if near else help_is


def _options(command: click.Command) -> list[str]:
    """As they are written in full."""
    options = (one for one in command.params if isinstance(one, click.Option))
    written = [word for one in options for word in (*one.opts, *one.secondary_opts)]
    return [word for word in (*written, "--help") if word.startswith("--")]
