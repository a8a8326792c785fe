"""matte_file: what comes back from each form of a matte, and what is never written over."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from clips import read_frames, samples_of, write_clip

from vidrepair.decode import open_source
from vidrepair.errors import UsageError, VidrepairError
from vidrepair.frames import Frame
from vidrepair.masks import open_masks
from vidrepair.matte_file import MatteFile, matte_kind, open_matte
from vidrepair.settings import MaskSettings
from vidrepair.tags import Clip

SIZE = (75, 53)
"""Width and height; odd on purpose, and no multiple of a block."""
FRAMES = 6
PTS = (0, 1, 2, 5, 6, 9)
FORMS = ("m.mkv", "m.mov", "m/", "m_%04d.png")

Film = tuple[Clip, list[Frame]]


def finish(matte: MatteFile) -> None:
    matte.end()
    matte.publish()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp("film") / "film.mkv"
    write_clip(path, frames=FRAMES, size=SIZE, pix_fmt="yuv422p10le", pts=PTS)
    with open_source(path) as source:
        return source.clip, [item for item in source.read() if isinstance(item, Frame)]


def mattes() -> list[np.ndarray | None]:
    """Specks, soft edges, a whole frame, noise, the least there is, and nothing."""
    rng = np.random.default_rng(7)
    shape = SIZE[::-1]
    specks = np.where(rng.random(shape) < 0.02, rng.integers(1, 256, shape), 0).astype(np.uint8)
    disc = cv2.GaussianBlur(cv2.circle(np.zeros(shape, np.uint8), (30, 20), 9, 255, -1), (5, 5), 0)
    noise = rng.integers(0, 2, shape).astype(np.uint8)
    return [specks, disc, np.full(shape, 255, np.uint8), 255 * noise, noise, None]


def codes() -> list[np.ndarray]:
    black = np.zeros(SIZE[::-1], np.uint8)
    return [black if matte is None else matte for matte in mattes()]


def fill(matte: MatteFile, film: Film) -> None:
    for frame, shown in zip(film[1], mattes(), strict=True):
        matte.write(frame, shown)


def written(film: Film, path: Path | str, **options: Any) -> None:
    with open_matte(film[0], path, **options) as matte:
        fill(matte, film)
        finish(matte)


def pngs(folder: Path, pattern: str = "matte_%06d.png") -> list[np.ndarray]:
    return [
        cv2.imread(str(folder / (pattern % number)), cv2.IMREAD_UNCHANGED)
        for number in range(FRAMES)
    ]


def test_ffv1_gives_back_every_code_at_the_time_of_its_frame(tmp_path: Path, film: Film) -> None:
    written(film, tmp_path / "m.mkv")
    frames = read_frames(tmp_path / "m.mkv")
    for frame, shown, own in zip(frames, codes(), film[1], strict=True):
        assert frame.format.name == "gray"
        np.testing.assert_array_equal(samples_of(frame)[0], shown)
        assert frame.pts * frame.time_base == own.pts * own.time_base


@pytest.mark.parametrize("pattern", ["matte_%06d.png", "x%d.png", "50%_%03d.png"])
def test_pictures_give_back_every_code(tmp_path: Path, film: Film, pattern: str) -> None:
    written(film, tmp_path / "m" if pattern.startswith("matte") else tmp_path / pattern)
    folder = tmp_path / "m" if pattern.startswith("matte") else tmp_path
    named = pattern.replace("50%_", "50%%_")
    assert sorted(path.name for path in folder.iterdir()) == [named % n for n in range(FRAMES)]
    for picture, shown in zip(pngs(folder, named), codes(), strict=True):
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, shown)


def test_prores_gives_back_black_as_black_and_the_rest_nearly(tmp_path: Path, film: Film) -> None:
    written(film, tmp_path / "m.mov")
    frames = read_frames(tmp_path / "m.mov")
    assert len(frames) == FRAMES
    with av.open(str(tmp_path / "m.mov")) as source:
        assert source.streams.video[0].codec_context.codec_tag == "apch"
    for frame, shown, own in zip(frames, codes(), film[1], strict=True):
        assert frame.pts * frame.time_base == own.pts * own.time_base
        assert (int(frame.color_range), int(frame.colorspace), int(frame.color_trc)) == (1, 1, 1)
        luma, *chroma = samples_of(frame)
        level = np.clip((luma.astype(float) - 64.0) * 255.0 / 876.0, 0.0, 255.0)
        assert (level[shown == 0] == 0.0).all()
        assert (level[shown > 0] >= 1.0).all()
        assert (level[shown == 255] >= 254.0).all()
        assert np.abs(level - shown).max() < 3.0
        assert all((plane == 512).all() for plane in chroma)


def test_as_ffmpeg_shows_it(tmp_path: Path, film: Film, ffmpeg: str) -> None:
    written(film, tmp_path / "m.mov")
    command = [ffmpeg, "-v", "error", "-i", "m.mov", "-pix_fmt", "gray", "-fps_mode", "passthrough"]
    subprocess.run([*command, "%d.png"], cwd=tmp_path, check=True)
    for number, shown in enumerate(codes(), 1):
        seen = cv2.imread(str(tmp_path / f"{number}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(seen > 0, shown > 0)
        assert (seen[shown == 255] >= 250).all()


@pytest.mark.parametrize("form", FORMS)
def test_a_matte_is_a_mask_of_what_was_touched(tmp_path: Path, film: Film, form: str) -> None:
    """Handed in again, at threshold 0, each form marks the very samples."""
    path = f"{tmp_path}/{form}"
    written(film, path)
    with open_masks(MaskSettings(Path(path), threshold=0.0), film[0]) as masks:
        for number, shown in enumerate(codes()):
            np.testing.assert_array_equal(masks.read(number), shown > 0)
        masks.finish()


@pytest.mark.parametrize("form", FORMS)
def test_a_second_run_gives_equal_bytes(tmp_path: Path, film: Film, form: str) -> None:
    files = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written(film, f"{tmp_path}/{name}/{form}")
        files.append(
            {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        )
    assert files[0]
    assert files[0] == files[1]


@pytest.mark.parametrize("form", ["m.mov", "m/"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 1)])
def test_tiny_pictures(tmp_path: Path, form: str, size: tuple[int, int]) -> None:
    source = tmp_path / "film.nut"
    write_clip(source, frames=2, size=size, pix_fmt="yuv444p", codec="rawvideo")
    with open_source(source) as opened, open_matte(opened.clip, f"{tmp_path}/{form}") as matte:
        for frame in opened.read():
            assert isinstance(frame, Frame)
            matte.write(frame, np.full(size[::-1], 255 * frame.number, np.uint8))
        finish(matte)
        clip = opened.clip
    with open_masks(MaskSettings(tmp_path / form), clip) as masks:
        assert not masks.read(0).any()
        assert masks.read(1).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["left", "cancelled", "empty"])
def test_nothing_is_there_unless_it_is_finished(
    tmp_path: Path, film: Film, form: str, end: str
) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    matte = open_matte(film[0], f"{tmp_path}/{form}")
    if end == "empty":
        with matte, pytest.raises(VidrepairError, match="no frame was written"):
            finish(matte)
    else:
        fill(matte, film)
        assert not any(path.name.startswith("m") for path in tmp_path.iterdir())
        if end == "cancelled":
            matte.cancel()
            with pytest.raises(VidrepairError, match="was cancelled"):
                finish(matte)
        matte.abort()
    matte.abort()
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("form", FORMS)
def test_after_the_end_nothing_more(tmp_path: Path, film: Film, form: str) -> None:
    matte = open_matte(film[0], f"{tmp_path}/{form}")
    with matte:
        fill(matte, film)
        finish(matte)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(VidrepairError, match="is closed already"):
            matte.write(film[1][0], None)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("form", FORMS)
def test_what_is_there_is_not_replaced_unasked(tmp_path: Path, film: Film, form: str) -> None:
    path = f"{tmp_path}/{form}"
    written(film, path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(UsageError, match="exists; add -y"):
        open_matte(film[0], path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("form", FORMS)
def test_with_overwrite_the_old_one_stays_until_the_new_one_is_whole(
    tmp_path: Path, film: Film, form: str
) -> None:
    path = f"{tmp_path}/{form}"
    written(film, path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("m*.*")}
    with open_matte(film[0], path, overwrite=True) as matte:
        matte.write(film[1][0], np.full(SIZE[::-1], 9, np.uint8))
        assert {path: path.read_bytes() for path in before} == before
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    with open_matte(film[0], path, overwrite=True) as matte:
        matte.write(film[1][0], np.full(SIZE[::-1], 9, np.uint8))
        finish(matte)
    # The pictures of the longer matte are gone: they would be frames of this one.
    after = list(tmp_path.rglob("*.*"))
    assert len(after) == 1
    assert after[0].read_bytes() != before[after[0]]


def test_only_our_own_pictures_are_replaced(tmp_path: Path, film: Film) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    others = ("matte_1.png", "matte_000001.tif", "photo.png", "amatte_000001.png")
    for name in (*others, "matte_000001.png", "matte_000099.png"):
        (folder / name).write_bytes(b"there before")
    with pytest.raises(UsageError, match="exists; add -y"):
        open_matte(film[0], folder)
    written(film, folder, overwrite=True)
    names = {path.name for path in folder.iterdir()}
    assert names == {*others, *(f"matte_{number:06d}.png" for number in range(FRAMES))}
    assert all((folder / name).read_bytes() == b"there before" for name in others)
    for picture, shown in zip(pngs(folder), codes(), strict=True):
        np.testing.assert_array_equal(picture, shown)


def test_a_folder_that_is_there_and_empty_is_taken(tmp_path: Path, film: Film) -> None:
    (tmp_path / "m.d").mkdir()
    written(film, tmp_path / "m.d")
    assert len(list((tmp_path / "m.d").iterdir())) == FRAMES
    assert [path.name for path in tmp_path.iterdir()] == ["m.d"]


@pytest.mark.parametrize("form", FORMS)
def test_what_appears_meanwhile_stays(tmp_path: Path, film: Film, form: str) -> None:
    own = tmp_path / ("m_0003.png" if "%" in form else form)
    with open_matte(film[0], f"{tmp_path}/{form}") as matte:
        fill(matte, film)
        if form == "m/":
            own.mkdir()
            own /= "mine.txt"
        own.write_bytes(b"mine")
        with pytest.raises(VidrepairError, match="appeared meanwhile"):
            finish(matte)
    assert own.read_bytes() == b"mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]


def test_numbers_are_those_of_the_frames(tmp_path: Path, film: Film) -> None:
    with open_matte(film[0], tmp_path / "m") as matte:
        for frame in film[1][2:4]:
            matte.write(frame, None)
        finish(matte)
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert names == ["matte_000002.png", "matte_000003.png"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.mkv", "mkv"),
        ("M.MOV", "mov"),
        ("m", "png"),
        ("m/", "png"),
        ("m.d/", "png"),
        ("m.mkv/", "png"),
        ("m/x_%06d.png", "png"),
        ("m/x_%d.PNG", "png"),
    ],
)
def test_what_a_name_stands_for(name: str, kind: str) -> None:
    assert matte_kind(name) == kind


@pytest.mark.parametrize("name", ["m.mp4", "m.png", "m_%06d", "m_%06d.tif", "%d_%d.png", "m.d"])
def test_a_name_that_stands_for_nothing(name: str) -> None:
    with pytest.raises(UsageError, match="is none of what can be written; use"):
        matte_kind(name)


def test_neither_the_source_nor_the_output(tmp_path: Path, film: Film) -> None:
    with pytest.raises(UsageError, match="is the source itself"):
        open_matte(film[0], film[0].name, overwrite=True)
    for name in ("o.mkv", "o.mov"):
        with pytest.raises(UsageError, match="is the output itself"):
            open_matte(film[0], tmp_path / name, output=tmp_path / "." / name, overwrite=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_that_is_missing(tmp_path: Path, film: Film, form: str) -> None:
    with pytest.raises(VidrepairError, match="none does not exist; make it first"):
        open_matte(film[0], f"{tmp_path}/none/{form}")


def test_a_file_is_no_folder(tmp_path: Path, film: Film) -> None:
    (tmp_path / "m").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        open_matte(film[0], tmp_path / "m", overwrite=True)
    assert (tmp_path / "m").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of the system")
@pytest.mark.parametrize("form", ["m.mov", "m/"])
def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path, form: str) -> None:
    """The largest file that the process may write is limited, which the system enforces."""
    write_clip(tmp_path / "a.mkv", frames=2, size=SIZE, rate=Fraction(25))
    code = f"""
import sys; sys.path[:0] = {sys.path!r}
import resource, numpy as np
from vidrepair.decode import open_source
from vidrepair.matte_file import open_matte
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
noise = np.random.default_rng(0).integers(0, 256, {SIZE[::-1]}).astype(np.uint8)
with open_source(__import__("pathlib").Path("a.mkv")) as source:
    with open_matte(source.clip, "{form}") as matte:
        for frame in source.read():
            matte.write(frame, noise)
        matte.end()
        matte.publish()
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    last = errors.decode().strip().splitlines()[-1]
    assert last.startswith("vidrepair.errors.VidrepairError: no space left for m")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
