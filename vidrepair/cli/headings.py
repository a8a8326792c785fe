"""Help that says what a command needs, its options by purpose, those most people need first."""

from __future__ import annotations

import click

HEADINGS: dict[str, tuple[str | None, ...]] = {
    "What most people need": ("output", "overwrite", "purpose", "denoise", "repair", "frames"),
    "The film that is written": (
        *("codec", "crf", "preset", "encoder_options", "pix_fmt", "allow_loss", "exact_time"),
        *("start_number", "on_change"),
    ),
    "The part that is read": ("video_stream", "ss", "to", "rate"),
    "Noise and grain": ("noise", "noise_profile", "look", "grain"),
    "Damage": (
        *("min_confidence", "deflicker", "bad_frames", "fill_gaps", "max_change"),
        *("mask_in", "protect_mask", "mask_threshold", "mask_grow", "mask_invert", "mask_channel"),
    ),
    "Interlaced film": ("interlace",),
    "Review": ("wants_page", "mask_out", "overlay", "sidecar", "analysis", "markers", "shots"),
    "Long films": ("journal", "segment", "workers", "ray"),
    "What computes": (
        *("model", "backend", "device", "precision", "tile", "memory", "threads", "trust_engine"),
    ),
    "Messages": ("progress", "log_level", None),
}
"""Names of options by heading. What is under none is a command's own, and comes first; None
stands for the one that asks for the help."""


class Needing(click.Command):
    """A command whose usage names the options that it cannot do without."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """[OPTIONS] IN, then -o OUT."""
        needed = [
            f"{option.opts[0]} {option.metavar or str(option.name).upper()}"
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and option.required
        ]
        return [*super().collect_usage_pieces(ctx), *needed]


class Headed(Needing):
    """A command whose help has headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options that this command has of each heading."""
        asks = self.get_help_option(ctx)
        left = {
            None if option is asks else option.name: record
            for option in self.get_params(ctx)
            if isinstance(option, click.Option)
            and (record := option.get_help_record(ctx)) is not None
        }
        known = {name for names in HEADINGS.values() for name in names}
        own = tuple(name for name in left if name not in known)
        for heading, names in {"Of this command": own, **HEADINGS}.items():
            records = [left[name] for name in names if name in left]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Lacking(Headed):
    """A command that says why it lacks what others have, where somebody asks for it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            self.explain(error.option_name)
            raise

    def explain(self, option: str) -> None:
        """Raise UsageError for an option that is missing for a reason."""
        raise NotImplementedError
