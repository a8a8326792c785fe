"""When the edit list of a file says that its film ends."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidrepair.boxes import make_box
from vidrepair.edits import MOST_EDITS, Sample, shown_texts, shown_until
from vidrepair.facts import read_facts

TIMES = [7, 47, 87, 200, 240, 280, 300, 400, 440, 480, 510]
"""Milliseconds; the film starts late, so that its edit list starts with nothing."""
END = 630


def film(path: Path) -> Path:
    """H.264 whose frames are coded in another order than shown, the last one longer."""
    lasts = dict(zip(TIMES, np.diff([*TIMES, END]).tolist(), strict=True))
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3", "b_strategy": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        packets = []
        for step, time in enumerate(TIMES):
            shifted = np.roll(noise, step, axis=1)
            frame = av.VideoFrame.from_ndarray(shifted).reformat(format="yuv420p")
            frame.pts, frame.time_base = time, stream.time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets:
            packet.duration = lasts[packet.pts]
        assert packets[-1].pts != TIMES[-1]
        packets[-1].duration = END - packets[-1].pts
        for packet in packets:
            container.mux(packet)
    return path


def test_an_edit_list_says_when_a_film_ends(tmp_path: Path) -> None:
    path = film(tmp_path / "late.mp4")
    assert shown_until(path, 1) == (Fraction(END, 1000), Fraction(1, 1000))
    assert shown_until(path, 2) is None


def test_the_last_frame_is_as_long_whoever_wrote_the_length_of_the_track(tmp_path: Path) -> None:
    """FFmpeg 8 states the time from the first frame to the end, FFmpeg 9 the sum of all samples."""
    path = film(tmp_path / "late.mp4")
    whole = path.read_bytes()
    at = whole.index(b"mdhd") + 4 + 16
    unit = struct.unpack_from(">I", whole, at - 4)[0] // 1000
    for stated in (END - TIMES[0], END - TIMES[0] + 40):
        changed = bytearray(whole)
        struct.pack_into(">I", changed, at, stated * unit)
        path.write_bytes(changed)
        facts = read_facts(path)
        assert facts.last * facts.time_base == Fraction(END - TIMES[-1], 1000)


def index(edits: bytes, version: int = 0) -> bytes:
    """An index of one track, whose number is 3 and whose edit list is this; 600 ticks a second."""
    times = bytes(16 if version else 8)
    flags = bytes([version, 0, 0, 0])
    movie = make_box(b"mvhd", flags + times + struct.pack(">I", 600) + bytes(84))
    header = make_box(b"tkhd", flags + times + struct.pack(">I", 3) + bytes(60))
    track = make_box(b"trak", header + make_box(b"edts", make_box(b"elst", edits)))
    return make_box(b"ftyp", b"isom") + make_box(b"moov", movie + track)


SHORT = bytes(4) + struct.pack(">I", 2) + struct.pack(">IiI", 60, -1, 1 << 16)


@pytest.mark.parametrize(
    ("content", "ends"),
    [
        (index(SHORT + struct.pack(">IiI", 6000, 0, 1 << 16)), 6060),
        (index(b"\1\0\0\0" + struct.pack(">IQqI", 1, 1 << 40, 0, 1 << 16), 1), 1 << 40),
        (index(SHORT + struct.pack(">IiI", 6000, 0, 1 << 16) + b"more"), 6060),
        # Written piece by piece.
        (index(SHORT + struct.pack(">IiI", 0, 0, 1 << 16)), None),
        # More than anybody made.
        (index(bytes(4) + struct.pack(">I", MOST_EDITS + 1) + bytes(12) * (MOST_EDITS + 1)), None),
        # Cut off, of a size that is none, of another kind, nothing.
        (index(SHORT), None),
        (index(bytes(4)), None),
        (index(b""), None),
        (make_box(b"moov", b"\0\0\0\3trak"), None),
        (b"RIFF and so on", None),
        (b"", None),
    ],
)
def test_edit_lists(tmp_path: Path, content: bytes, ends: int | None) -> None:
    path = tmp_path / "index.mp4"
    path.write_bytes(content)
    unit = Fraction(1, 600)
    assert shown_until(path, 3) == (None if ends is None else (ends * unit, unit))


def texts(
    edit: tuple[int, int],
    times: list[tuple[int, int]],
    sizes: list[int],
    more: tuple[int, int] | None = None,
    waits: int = 60,
) -> bytes:
    """An index of one track of text, whose number is 3, that shows nothing for so many ticks; both
    the film and the track have 600 a second.
    """
    begin = bytes(12)
    movie = make_box(b"mvhd", begin + struct.pack(">I", 600) + bytes(84))
    header = make_box(b"tkhd", begin + struct.pack(">I", 3) + bytes(60))
    told = [(waits, -1), edit, *([] if more is None else [more])]
    edits = b"\1\0\0\0" + struct.pack(">I", len(told))
    edits += b"".join(struct.pack(">QqI", *one, 1 << 16) for one in told)
    spread = bytes(4) + struct.pack(">I", len(times))
    spread += b"".join(struct.pack(">II", *one) for one in times)
    lengths = bytes(4) + struct.pack(f">II{len(sizes)}I", 0, len(sizes), *sizes)
    table = make_box(b"stbl", make_box(b"stts", spread) + make_box(b"stsz", lengths))
    clock = make_box(b"mdhd", begin + struct.pack(">I", 600) + bytes(8))
    media = make_box(b"mdia", clock + make_box(b"minf", table))
    listed = make_box(b"edts", make_box(b"elst", edits))
    return make_box(b"moov", movie + make_box(b"trak", header + listed + media))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        # The first ended before the edit, the second is on the screen when it begins.
        (
            texts((6000, 250), [(3, 100)], [5, 2, 6]),
            [Sample(6, 60, 50)],
        ),
        (
            texts((6000, 150), [(1, 100), (2, 200)], [5, 2, 6]),
            [Sample(2, 60, 150), Sample(6, 210, 200)],
        ),
        # Without an end, and with fewer lengths than texts.
        (texts((6000, 9), [(1, 2**32 - 1)], [5]), [Sample(5, 60, 2**32 - 10)]),
        (texts((6000, 9), [(2**32 - 1, 2**32 - 1)], [5]), [Sample(5, 60, 2**32 - 10)]),
        (texts((6000, 50), [(1, 100)], [5, 2, 6]), [Sample(5, 60, 50)]),
        # An edit list that lets them wait for longer than a time can say.
        (texts((6000, 9), [(3, 100)], [5, 2, 6], waits=1 << 63), []),
        # Several edits.
        (texts((6000, 250), [(3, 100)], [5, 2, 6], more=(600, 300)), []),
        # From the start of the track FFmpeg is right.
        (texts((6000, 0), [(3, 100)], [5, 2, 6]), []),
    ],
)
def test_texts_that_an_edit_shows(tmp_path: Path, content: bytes, shown: list[Sample]) -> None:
    path = tmp_path / "index.mp4"
    path.write_bytes(content)
    assert shown_texts(path, [3]) == {3: shown}
    assert shown_texts(path, [2]) == {}


def test_of_very_many_texts_the_first_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.mp4"
    path.write_bytes(texts((6000, 9), [(9, 100)], [5] * 9))
    assert len(shown_texts(path, [3])[3]) == 9
    monkeypatch.setattr("vidrepair.edits.MOST_TEXTS", 4)
    assert len(shown_texts(path, [3])[3]) == 4


def test_no_file_has_no_edit_list(tmp_path: Path) -> None:
    assert shown_until(tmp_path / "none.mp4", 1) is None
