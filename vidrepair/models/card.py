"""The card of a released model: what it is, and how it has to be run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from vidrepair.errors import ModelError
from vidrepair.frames import Picture

LAYOUT = 6
"""Version of the card and of the graphs' contract; files of another one are refused."""

UNSHUFFLED = 12
"""Channels of a picture after PixelUnshuffle(2). Those of the state make the repaired frame."""

_LARGE = 1920 * 1088


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The facts of one set of weights; stands as JSON in the header of each of its files."""

    name: str
    """The released name, such as fast."""
    size: str
    """fast, base or large."""
    widths: tuple[int, int, int]
    """Channels at 1/2, 1/4 and 1/8 size; the first is also that of the state's features."""
    blocks: tuple[int, int, int]
    """Residual blocks at 1/2, 1/4 and 1/8 size."""
    motion_width: int
    """Channels of the motion net."""
    halo: int
    """Pixels around a tile that its result depends on, a multiple of `stride`."""
    sha256: str
    """Of all weights in half precision, `models.weights.fingerprint`; the same in every file."""
    training_data: str
    """What it was trained on, and the licence status of that."""
    training: dict[str, float | int | str]
    """Figures of the training: steps, pixels, seconds and notes."""
    warm_up: int = 8
    """W, the steps before a span's first frame that the state needs."""
    span: int = 64
    """T, the core frames of a span."""
    span_large: int = 32
    """T above 1920x1088."""
    look_ahead: int = 1
    """L, the frames after frame t that are looked at."""
    stride: int = 16
    """Width and height have to be multiples of this."""
    layout: int = LAYOUT

    @property
    def state_channels(self) -> int:
        """S, the channels of the state: the repaired frame's difference and the features."""
        return UNSHUFFLED + self.widths[0]

    def input_shapes(self, lanes: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """What every input of both graphs measures for a padded picture."""
        memory, half = self.state_channels, (height // 2, width // 2)
        return {
            "frames": (lanes, 3, 3, height, width),
            "state": (lanes, memory, *half),
            "frame": (lanes, 3, height, width),
            "aligned": (lanes, memory + UNSHUFFLED, *half),
            "noise": (lanes, 2, 17),
        }

    def core_length(self, picture: Picture) -> int:
        """T for a picture of this size: long spans of large ones would hold too much memory."""
        large = picture.width * picture.height > _LARGE
        return self.span_large if large else self.span

    def to_json(self) -> str:
        """One line, keys sorted: equal cards give equal text."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


def parse_card(text: str, where: str) -> ModelCard:
    """Read a card's JSON; `where` names the file in errors.

    Raises ModelError when it is no card, or the card of another layout.
    """
    try:
        values = json.loads(text)
        layout = values.get("layout")
        if layout != LAYOUT:
            raise ModelError(
                f"{where} has a model card of layout {layout}, this version of vidrepair reads "
                f"layout {LAYOUT}; use a model and a vidrepair that were released together"
            )
        card = ModelCard(**{name: _value(value) for name, value in values.items()})
        _check(card)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{where} has a damaged model card ({error}); fetch or export the file again"
        ) from error
    return card


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check(card: ModelCard) -> None:
    """Raise ValueError where a field is of another kind, or no number that could be run."""
    for field in dataclasses.fields(ModelCard):
        value = getattr(card, field.name)
        if field.name in ("widths", "blocks"):
            sound = len(value) == 3 and all(type(v) is int and v > 0 for v in value)
        elif field.type == "int":
            sound = type(value) is int and value >= 0
        else:
            sound = isinstance(value, dict if field.name == "training" else str)
        if not sound:
            raise ValueError(f"{field.name} is {value!r}")
    if card.stride < 1 or card.span < 1 or card.span_large < 1 or card.halo % card.stride:
        raise ValueError("stride, span or halo is out of range")
