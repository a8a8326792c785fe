"""The VapourSynth filter, in a real core: its frames are those of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Samples, picture, read_frames, samples_of, write_clip

from vidrepair import EngineSettings, RepairSettings, UsageError

if os.environ.get("CI_VAPOURSYNTH"):  # there it was installed for this
    import vapoursynth as vs
else:
    vs = pytest.importorskip("vapoursynth")

from vidrepair.vapoursynth import repair

SIZE = (64, 48)
COUNT = 80
CPU = EngineSettings(device="cpu")

SCRIPT = """
import numpy as np
import vapoursynth as vs
from vidrepair.vapoursynth import repair

stored = np.load({samples!r})
blank = vs.core.std.BlankClip(width=64, height=48, format=vs.GRAY8, length=len(stored), fpsnum=25)
def given(n, f):
    made = f.copy()
    np.copyto(np.asarray(made[0]), stored[n])
    return made
clip = blank.std.ModifyFrame(clips=[blank], selector=given)
repair(clip).set_output()
clip.set_output(1)
"""


def clip_of(film: Sequence[Sequence[Samples]], form: Any) -> Any:
    """A clip of a script that shows these samples."""
    blank = vs.core.std.BlankClip(
        width=SIZE[0], height=SIZE[1], format=form, length=len(film), fpsnum=25, fpsden=1
    )

    def given(n: int, f: Any) -> Any:
        made = f.copy()
        for index, plane in enumerate(film[n]):
            np.copyto(np.asarray(made[index]), plane)
        made.props["Number"] = n
        return made

    return blank.std.ModifyFrame(clips=[blank], selector=given)


def make_film(path: Path, pix_fmt: str) -> list[list[Samples]]:
    frames = [picture(pix_fmt, *SIZE, number) for number in range(COUNT)]
    write_clip(path, frames=frames, size=SIZE, pix_fmt=pix_fmt)
    return [samples_of(frame) for frame in read_frames(path)]


def restored(path: Path, *options: str) -> list[list[Samples]]:
    """What the command line makes of it."""
    out = path.with_name("out.mkv")
    words = ["run", str(path), "-o", str(out), "-c", "ffv1", "--device", "cpu", *options]
    subprocess.run([sys.executable, "-m", "vidrepair", *words], check=True, capture_output=True)
    return [samples_of(frame) for frame in read_frames(out)]


def planes_of(frame: Any) -> list[Any]:
    return [np.asarray(frame[index]) for index in range(frame.format.num_planes)]


@pytest.mark.parametrize("threads", [1, 3])
def test_frames_are_those_of_the_command_line(tmp_path: Path, threads: int) -> None:
    film = make_film(tmp_path / "film.mkv", "yuv420p10le")
    wanted = restored(tmp_path / "film.mkv", "--denoise", "80")
    assert not np.array_equal(wanted[5][0], film[5][0])
    before, vs.core.num_threads = vs.core.num_threads, threads
    try:
        clip = clip_of(film, vs.YUV420P10)
        fixed = repair(clip, RepairSettings(denoise=(80.0, 80.0)), engine=CPU)
        assert (fixed.num_frames, fixed.format.id) == (COUNT, clip.format.id)
        for number in (70, 3, *range(COUNT)):  # backwards, then as an encoder asks
            got = fixed.get_frame(number)
            assert got.props["Number"] == number
            for mine, want in zip(planes_of(got), wanted[number], strict=True):
                np.testing.assert_array_equal(mine, want, err_msg=f"frame {number}")
        coded = [planes_of(frame)[0].copy() for frame in fixed.frames(prefetch=6)]
        assert all(np.array_equal(one, want[0]) for one, want in zip(coded, wanted, strict=True))
    finally:
        vs.core.num_threads = before


def test_rgb_planes_keep_their_order(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", "gbrp10le")
    wanted = restored(tmp_path / "film.mkv")
    # FFmpeg has G, B, R; VapourSynth R, G, B.
    fixed = repair(clip_of([[one[2], one[0], one[1]] for one in film], vs.RGB30), engine=CPU)
    red, green, blue = planes_of(fixed.get_frame(9))
    for mine, want in zip((green, blue, red), wanted[9], strict=True):
        np.testing.assert_array_equal(mine, want)


def test_vspipe_runs_a_script(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", "gray")
    wanted = restored(tmp_path / "film.mkv")
    np.save(tmp_path / "samples.npy", np.array([planes[0] for planes in film]))
    script = tmp_path / "script.vpy"
    script.write_text(SCRIPT.format(samples=str(tmp_path / "samples.npy")))
    vspipe = [str(Path(sys.executable).with_name("vspipe")), "-c", "y4m", str(script), "-"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    piped = subprocess.run(vspipe, capture_output=True, check=False, env=env)
    assert piped.returncode == 0, piped.stderr
    (tmp_path / "filtered.y4m").write_bytes(piped.stdout)
    given = subprocess.run([*vspipe, "-o", "1"], capture_output=True, check=True, env=env)
    words = ["run", "-", "-o", str(tmp_path / "after.mkv"), "--device", "cpu"]
    tool = [sys.executable, "-m", "vidrepair", *words]
    subprocess.run(tool, input=given.stdout, capture_output=True, check=True)
    for name in ("filtered.y4m", "after.mkv"):
        shown = [samples_of(frame) for frame in read_frames(tmp_path / name)]
        assert len(shown) == COUNT
        for mine, want in zip(shown, wanted, strict=True):
            np.testing.assert_array_equal(mine[0], want[0])


def test_what_cannot_be_repaired_is_refused_at_once() -> None:
    blank = vs.core.std.BlankClip(width=64, height=48, length=3, format=vs.YUV420P8)
    floats = vs.core.std.BlankClip(width=64, height=48, length=3, format=vs.GRAYS)
    with pytest.raises(UsageError, match="GrayS is not repaired here; resize to whole numbers"):
        repair(floats)
    with pytest.raises(UsageError, match="the clip is interlaced"):
        repair(blank.std.SetFrameProps(_FieldBased=2))
    with pytest.raises(UsageError, match="changes its format or size"):
        repair(vs.core.std.Splice([blank, blank.std.Crop(right=32)], mismatch=True))
    with pytest.raises(UsageError, match="takes a clip of VapourSynth, not str"):
        repair("film.mkv")
    with pytest.raises(UsageError, match="masks and fill_gaps"):
        repair(blank, RepairSettings(fill_gaps=True))
    with pytest.raises(UsageError, match="0 spans cannot be kept"):
        repair(blank, kept=0)


def test_a_clip_that_fails_says_so_at_the_frame() -> None:
    blank = vs.core.std.BlankClip(width=64, height=48, length=8, format=vs.YUV420P8)

    def fails(n: int, f: Any) -> Any:
        if n == 6:
            raise OSError("the reel is torn")
        return f

    fixed = repair(blank.std.ModifyFrame(clips=[blank], selector=fails), engine=CPU)
    with pytest.raises(vs.Error, match="the reel is torn"):
        fixed.get_frame(0)
