"""Frames asked for in any order, against those of a run, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Samples, picture, read_frames, samples_of, write_clip

from vidrepair import EngineSettings, MaskSettings, OutputSettings, RepairSettings, UsageError
from vidrepair import repair as run
from vidrepair.frames import Frame, Picture
from vidrepair.on_demand import OnDemand
from vidrepair.tags import pixel_format

SIZE = (64, 48)
COUNT, CUT = 96, 84
Film = Sequence[Sequence[Samples]]


def film_of(path: Path, pix_fmt: str = "yuv420p") -> list[list[Samples]]:
    """A clip of two shots with flicker, spots, a doubled frame, and its samples."""
    pictures = []
    for number in range(COUNT):
        # The second shot shows another picture, turned upside down.
        shown = picture(pix_fmt, *SIZE, number)
        view = np.frombuffer(shown.planes[0], "u1" if pix_fmt == "yuv420p" else "<u2")
        rows = view.reshape(SIZE[1], -1)[:, : SIZE[0]]
        if number >= CUT:
            rows[:] = rows[::-1] // 3
        if number % 7 == 3:
            rows[20:25, 30:36] = 0
        if number % 3 == 0:
            rows[:] = rows - rows // 12
        pictures.append(shown)
    pictures[75] = pictures[74]
    write_clip(path, frames=pictures, size=SIZE, pix_fmt=pix_fmt)
    return [samples_of(frame) for frame in read_frames(path)]


@contextmanager
def opened(film: Film, pix_fmt: str, **asked: Any) -> Iterator[tuple[OnDemand, list[int]]]:
    """The film on demand, and the numbers of the frames that it reads."""
    form = pixel_format(pix_fmt)
    assert form is not None
    facts, reads = Picture(*SIZE, form, "bt601"), list[int]()
    kept = asked.pop("kept", 2)

    def read(number: int) -> Frame:
        reads.append(number)
        return Frame(tuple(film[number]), facts, number, number, Fraction(1, 25))

    with ExitStack() as owned:
        settings, engine = RepairSettings(**asked), EngineSettings(device="cpu")
        yield OnDemand(facts, len(film), read, settings, engine, owned, kept=kept), reads


@pytest.mark.parametrize(
    ("pix_fmt", "asked"),
    [
        ("yuv420p", {}),
        ("yuv420p", {"deflicker": 100.0, "grain": 40.0, "denoise": (70.0, 100.0)}),
        ("yuv422p10le", {"bad_frames": (range(64, 66), range(93, 96)), "max_change": 9.0}),
    ],
)
def test_frames_in_any_order_are_those_of_a_run(
    tmp_path: Path, pix_fmt: str, asked: dict[str, Any]
) -> None:
    path, out = tmp_path / "film.mkv", tmp_path / "out.mkv"
    film = film_of(path, pix_fmt)
    run(
        path,
        out,
        settings=RepairSettings(**asked),
        engine=EngineSettings(device="cpu"),
        target=OutputSettings(codec="ffv1"),
    )
    wanted = [samples_of(frame) for frame in read_frames(out)]
    assert len(wanted) == COUNT
    assert any(not np.array_equal(one[0], two[0]) for one, two in zip(wanted, film, strict=True))
    with opened(film, pix_fmt, **asked) as (frames, _):
        for number in (*range(70, COUNT), *range(70)):
            for got, want in zip(frames.frame(number), wanted[number], strict=True):
                np.testing.assert_array_equal(got, want, err_msg=f"frame {number}")


def test_the_film_is_read_once_and_a_span_is_computed_once(tmp_path: Path) -> None:
    film = film_of(tmp_path / "film.mkv")
    with opened(film, "yuv420p", kept=1) as (frames, reads):
        assert reads == []
        frames.frame(10)
        # The plan; then the span, 3 frames of the one that it fades to, and one ahead.
        assert reads[:COUNT] == list(range(COUNT))
        assert sorted(set(reads[COUNT:])) == list(range(68))
        known = len(reads)
        frames.frame(0)
        frames.frame(63)
        assert len(reads) == known
        frames.frame(70)
        # Warm-up and a look back before it; nothing beyond the cut.
        assert (min(reads[known:]), max(reads[known:])) == (55, CUT - 1)
        known = len(reads)
        frames.frame(10)
        assert len(reads) > known, "only one span was to be kept"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"fill_gaps": True}, "masks and fill_gaps"),
        ({"mask_in": MaskSettings(Path("m.mkv"))}, "masks and fill_gaps"),
        ({"interlace": "fields"}, "interlace fields"),
        ({"kept": 0}, "0 spans cannot be kept"),
    ],
)
def test_what_goes_frame_by_frame_is_refused(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said), opened([], "yuv420p", **asked):
        pass


def test_without_vapoursynth_its_filter_names_the_extra() -> None:
    if find_spec("vapoursynth") is not None:
        pytest.skip("it is installed here")
    with pytest.raises(ImportError, match=r'pip install "vidrepair\[vapoursynth\]"'):
        import_module("vidrepair.vapoursynth")
