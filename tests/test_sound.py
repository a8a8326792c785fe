"""Sound that is copied: the layout of its channels is kept, or what loses it is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import picture
from passing import IDLE

from vidrepair import repair
from vidrepair.errors import CannotCarry
from vidrepair.facts import read_facts
from vidrepair.verification import check_files


def sounding(path: Path, layout: str, codec: str = "pcm_s16le") -> Path:
    """Half a second of picture, with sound of that layout."""
    with av.open(str(path), "w") as output:
        film: Any = output.add_stream("mpeg4", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        sound: Any = output.add_stream(codec, rate=48000, layout=layout)
        count = len(av.AudioLayout(layout).channels)
        packed = sound.format.is_packed
        shape = (1, 24000 * count) if packed else (count, 24000)
        samples = np.zeros(shape, np.dtype("int16" if "16" in sound.format.name else "int32"))
        tone = av.AudioFrame.from_ndarray(samples, format=sound.format.name, layout=layout)
        tone.sample_rate, tone.pts, tone.time_base = 48000, 0, Fraction(1, 48000)
        for number in range(12):
            output.mux(film.encode(picture("yuv420p", 64, 48, number)))
        for each in (tone, None):
            output.mux(sound.encode(each))
        output.mux(film.encode(None))
    return path


def with_own_order(path: Path) -> Path:
    """A MOV file whose channels stand in an order that FFmpeg has no name for.

    Its box chan names a layout by its number, as that of FFmpeg 5 for 7.1 does.
    """
    data = path.read_bytes()
    place = data.index(b"chan") + 8
    path.write_bytes(data[:place] + bytes.fromhex("008000080000000000000000") + data[place + 12 :])
    return path


def layout(path: Path) -> str:
    return dict(read_facts(path).tracks[0].form)["channel layout"]


@pytest.mark.parametrize("name", ["mono", "stereo", "quad", "5.1", "5.1(side)", "7.1", "downmix"])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov"])
def test_the_layout_of_pcm_is_kept_or_named(tmp_path: Path, name: str, suffix: str) -> None:
    source, output = sounding(tmp_path / "a.mov", name), tmp_path / f"b.{suffix}"
    if (name, suffix) == ("downmix", "mp4"):
        with pytest.raises(CannotCarry, match="MP4 cannot hold the sound"):
            repair(source, output, settings=IDLE)
        return
    told = " ".join(repair(source, output, settings=IDLE).warnings)
    if name in ("mono", "stereo"):
        assert "layout" not in told  # the usual ones for so many
    elif suffix == "mkv":
        assert f"does not keep the channel layout {layout(source)}" in told
        missing = [each.what for each in check_files(output, source)]
        assert missing == ["channel layout"]
    else:
        assert "layout" not in told
        assert layout(output) == layout(source)


def test_flac_in_mp4_loses_its_layout(tmp_path: Path) -> None:
    source, output = sounding(tmp_path / "a.mkv", "2.1", "flac"), tmp_path / "b.mp4"
    told = " ".join(repair(source, output, settings=IDLE).warnings)
    assert "MP4 does not keep the channel layout 2.1" in told


def test_another_layout_of_as_many_channels_is_found(tmp_path: Path) -> None:
    one, other = (sounding(tmp_path / f"{name}.mov", name) for name in ("5.1", "5.1(side)"))
    assert "channel layout" in [each.what for each in check_files(other, one)]


def test_channels_in_an_order_of_their_own_pass(tmp_path: Path) -> None:
    """PyAV frees such a layout twice, and ends the process."""
    source = with_own_order(sounding(tmp_path / "a.mov", "7.1"))
    own = "8 channels (FL+FR+FC+LFE+SL+SR+BL+BR)"
    assert layout(source) == own
    for suffix in ("mov", "mp4", "mkv"):
        output = tmp_path / f"b.{suffix}"
        told = " ".join(repair(source, output, settings=IDLE).warnings)
        assert (f"the channel layout {own}" in told) == (suffix == "mkv")
        assert suffix == "mkv" or layout(output) == own
