"""masks: what a mask marks, in every form it may come in, and what is wrong with one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from clips import Extras, sample_type, write_clip

from vidrepair.decode import open_source
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.masks import MaskReader, open_masks
from vidrepair.settings import MaskSettings
from vidrepair.tags import Clip

SIZE = (40, 30)
"""Width and height, of the film and its masks."""
FRAMES = 5
FILM = "film.mkv"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("masks") / FILM
    write_clip(path, frames=FRAMES, size=SIZE)
    with open_source(path) as source:
        return source.clip


def spot(number: int) -> np.ndarray:
    """Where mask `number` is white: a square of 6x6 that moves by 4."""
    mask = np.zeros(SIZE[::-1], bool)
    mask[8:14, 4 * number : 4 * number + 6] = True
    return mask


def drawn(pix_fmt: str, number: int, *, low: float = 0.0, high: float = 1.0) -> av.VideoFrame:
    """A frame with `spot` in it, levels 0..1 of its range; chroma neutral, alpha the other way."""
    frame = av.VideoFrame(*SIZE, pix_fmt)
    bits = frame.format.components[0].bits
    full = not pix_fmt.startswith("yuv")
    black, white = (0, 2**bits - 1) if full else (16 << (bits - 8), 235 << (bits - 8))
    codes = np.where(spot(number), black + high * (white - black), black + low * (white - black))
    for index, plane in enumerate(frame.planes):
        view = np.frombuffer(plane, sample_type(frame)).reshape(plane.height, -1)
        if index == 3:
            view[:, : plane.width] = np.where(spot(number), 0, 2**bits - 1)
        elif index and not full:
            view[:] = 2 ** (bits - 1)
        else:
            view[:, : plane.width] = codes.round()
    return frame


def video(path: Path, pix_fmt: str = "gray", count: int = FRAMES, **options: Any) -> Path:
    frames = [drawn(pix_fmt, number) for number in range(count)]
    write_clip(path, frames=frames, size=SIZE, pix_fmt=pix_fmt, **options)
    return path


def pictures(folder: Path, first: int = 0, name: str = "mask_%06d.png") -> Path:
    """A picture for each frame of the film, numbered from `first` up."""
    folder.mkdir(exist_ok=True)
    for number in range(FRAMES):
        assert cv2.imwrite(str(folder / (name % (first + number))), 255 * spot(number).astype("u1"))
    return folder


def read_all(settings: MaskSettings, film: Clip) -> list[np.ndarray]:
    with open_masks(settings, film) as masks:
        found = [masks.read(number) for number in range(FRAMES)]
        masks.finish()
    return found


def assert_spots(found: list[np.ndarray]) -> None:
    assert len(found) == FRAMES
    for number, mask in enumerate(found):
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, spot(number))


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "gray"),
        ("a.mkv", "ffv1", "gray10le"),
        ("a.mkv", "ffv1", "gray16le"),
        ("a.mkv", "ffv1", "yuv420p"),
        ("a.mkv", "ffv1", "yuv422p10le"),
        ("a.mkv", "ffv1", "yuv444p16le"),
        ("a.mkv", "ffv1", "gbrp12le"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.mp4", "libx264", "yuv420p"),
        ("a.avi", "utvideo", "gbrp"),
    ],
)
def test_a_video_of_any_kind(
    tmp_path: Path, film: Clip, name: str, codec: str, pix_fmt: str
) -> None:
    options = {"crf": "4"} if codec == "libx264" else {}
    path = video(tmp_path / name, pix_fmt, codec=codec, options=options)
    assert_spots(read_all(MaskSettings(path), film))


def test_times_are_of_no_account(tmp_path: Path, film: Clip) -> None:
    path = video(tmp_path / "a.mkv", rate=Fraction(7), pts=[0, 3, 4, 9, 20])
    assert_spots(read_all(MaskSettings(path), film))


def test_the_alpha_plane_if_it_is_asked_for(tmp_path: Path, film: Clip) -> None:
    path = video(tmp_path / "a.mkv", "yuva444p10le")
    assert_spots(read_all(MaskSettings(path), film))
    assert_spots(read_all(MaskSettings(path, channel="alpha", invert=True), film))
    still = np.zeros((*SIZE[::-1], 4), np.uint8)
    still[spot(2), 3] = 200
    assert cv2.imwrite(str(tmp_path / "a.png"), still)
    found = read_all(MaskSettings(tmp_path / "a.png", channel="alpha"), film)
    assert all(np.array_equal(mask, spot(2)) for mask in found)


def test_the_alpha_beside_gray(tmp_path: Path, film: Clip) -> None:
    """It is packed, in pairs."""
    frame = av.VideoFrame(*SIZE, "ya8")
    view = np.frombuffer(frame.planes[0], np.uint8).reshape(SIZE[1], -1)
    view[:, 0 : 2 * SIZE[0] : 2], view[:, 1 : 2 * SIZE[0] : 2] = 255, 255 * spot(1)
    context: Any = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = *SIZE, "ya8"
    context.time_base = Fraction(1, 25)
    frame.pts = 0
    (tmp_path / "a.png").write_bytes(bytes(context.encode(frame)[0]))
    found = read_all(MaskSettings(tmp_path / "a.png", channel="alpha"), film)
    assert all(np.array_equal(mask, spot(1)) for mask in found)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.bmp", "50%03d.png"])
def test_a_still_picture_holds_for_every_frame(tmp_path: Path, film: Clip, name: str) -> None:
    shown = cv2.resize(255 * spot(1).astype("u1"), SIZE, interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(tmp_path / name), shown)
    found = read_all(MaskSettings(tmp_path / name), film)
    assert len(found) == FRAMES
    assert all(np.array_equal(mask, spot(1)) for mask in found)


def test_a_still_dpx(tmp_path: Path, film: Clip) -> None:
    context: Any = av.CodecContext.create("dpx", "w")
    context.width, context.height, context.pix_fmt = *SIZE, "gbrp10be"
    context.time_base = Fraction(1, 25)
    frame = drawn("gbrp10be", 3)
    frame.pts = 0
    (tmp_path / "a.dpx").write_bytes(bytes(context.encode(frame)[0]))
    assert all(np.array_equal(m, spot(3)) for m in read_all(MaskSettings(tmp_path / "a.dpx"), film))


@pytest.mark.parametrize(
    ("name", "first"),
    [("mask_%06d.png", 0), ("mask_%06d.png", 86400), ("m%d.tif", 98), ("s2_%03d.x.tiff", 999)],
)
def test_numbered_pictures(tmp_path: Path, film: Clip, name: str, first: int) -> None:
    folder = pictures(tmp_path / "m", first, name)
    (folder / "notes.txt").write_text("of no account")
    (folder / "._mask_000001.png").write_bytes(b"what a Mac leaves behind")
    assert_spots(read_all(MaskSettings(folder / name), film))
    (folder / "other_3.jpg").write_bytes(b"no picture, and none of them")
    if "x" not in name:
        assert_spots(read_all(MaskSettings(folder), film))


def test_a_pattern_takes_its_own_files_alone(tmp_path: Path, film: Clip) -> None:
    folder = pictures(tmp_path / "m")
    for name in ("mask_7.png", "mask_000001.tif", "amask_000009.png", "mask_x00009.png"):
        (folder / name).write_bytes(b"another's")
    assert_spots(read_all(MaskSettings(folder / "mask_%06d.png"), film))


def test_pictures_may_differ_in_depth(tmp_path: Path, film: Clip) -> None:
    folder = pictures(tmp_path / "m")
    deep = np.where(spot(2), 60000, 5000).astype(np.uint16)
    assert cv2.imwrite(str(folder / "mask_000002.png"), deep)
    colour = np.repeat(255 * spot(3).astype("u1")[..., None], 3, axis=2)
    assert cv2.imwrite(str(folder / "mask_000003.png"), colour)
    assert_spots(read_all(MaskSettings(folder), film))


@pytest.mark.parametrize(
    "pix_fmt", ["gray", "gray12le", "yuv420p", "yuv422p10le", "gbrp", "gbrp16le"]
)
def test_the_threshold_is_a_share_of_the_masks_own_range(
    tmp_path: Path, film: Clip, pix_fmt: str
) -> None:
    frames = [drawn(pix_fmt, number, low=0.28, high=0.32) for number in range(FRAMES)]
    path = tmp_path / ("a.avi" if pix_fmt == "gbrp" else "a.mkv")
    codec = "utvideo" if pix_fmt == "gbrp" else "ffv1"
    write_clip(path, frames=frames, size=SIZE, pix_fmt=pix_fmt, codec=codec)

    def share(threshold: float, **more: Any) -> float:
        masks = read_all(MaskSettings(path, threshold, **more), film)
        return float(np.mean(masks))

    part = float(np.mean([spot(number) for number in range(FRAMES)]))
    assert share(0.25) == 1.0
    assert share(0.30) == part
    assert share(0.35) == 0.0
    assert share(0.0) == 1.0
    assert share(0.30, invert=True) == pytest.approx(1.0 - part)


def test_a_level_of_the_mask_is_met_exactly(tmp_path: Path, film: Clip) -> None:
    """At threshold c/255 code c is not marked, and code c + 1 is; in gray and in R'G'B'."""
    for code in (1, 77, 128, 200, 254):
        shown = np.full(SIZE[::-1], code, np.uint8)
        shown[spot(0)] = code + 1
        for name, picture in (("g.png", shown), ("c.png", np.repeat(shown[..., None], 3, axis=2))):
            assert cv2.imwrite(str(tmp_path / name), picture)
            settings = MaskSettings(tmp_path / name, threshold=code / 255)
            np.testing.assert_array_equal(read_all(settings, film)[0], spot(0))


def test_our_own_matte_marks_all_that_was_touched_at_zero(tmp_path: Path, film: Clip) -> None:
    assert cv2.imwrite(str(tmp_path / "a.png"), spot(0).astype("u1"))
    found = read_all(MaskSettings(tmp_path / "a.png", threshold=0.0), film)
    np.testing.assert_array_equal(found[0], spot(0))


def test_grown_by_so_many_samples(tmp_path: Path, film: Clip) -> None:
    path = video(tmp_path / "a.mkv")
    for grow in (1, 3, 60):
        wide = np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)
        for number, mask in enumerate(read_all(MaskSettings(path, grow=grow), film)):
            np.testing.assert_array_equal(mask, cv2.dilate(spot(number).astype("u1"), wide) > 0)
    # The infrared way: what is dark is dust, and a margin around that.
    inverted = read_all(MaskSettings(path, invert=True, grow=1), film)[1]
    kernel = np.ones((3, 3), np.uint8)
    np.testing.assert_array_equal(inverted, cv2.erode(spot(1).astype("u1"), kernel) == 0)


def test_frames_may_be_left_out(tmp_path: Path, film: Clip) -> None:
    """A job that goes on in the middle asks for the frames from there."""
    for path in (video(tmp_path / "a.mkv"), pictures(tmp_path / "m")):
        with open_masks(MaskSettings(path), film) as masks:
            for number in (2, 2, 4):
                np.testing.assert_array_equal(masks.read(number), spot(number))
            masks.finish()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1)])
def test_tiny_pictures(tmp_path: Path, size: tuple[int, int]) -> None:
    film = tmp_path / "film.nut"  # FFV1 has none that are so small
    write_clip(film, frames=2, size=size, pix_fmt="yuv444p", codec="rawvideo")
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full(size[::-1], 255, np.uint8))
    with open_source(film) as source:
        clip = source.clip
    with open_masks(MaskSettings(tmp_path / "a.png", grow=2), clip) as masks:
        assert masks.read(1).shape == size[::-1]
        assert masks.read(1).all()


def test_a_mask_is_not_written_to(tmp_path: Path, film: Clip) -> None:
    with open_masks(MaskSettings(video(tmp_path / "a.mkv")), film) as masks:
        mask = masks.read(0)
    with pytest.raises(ValueError, match="read-only"):
        mask[0, 0] = True


def test_closed_twice_and_then_refused(tmp_path: Path, film: Clip) -> None:
    for path in (video(tmp_path / "a.mkv"), pictures(tmp_path / "m")):
        masks = open_masks(MaskSettings(path), film)
        masks.read(1)
        masks.close()
        masks.close()
        masks.finish()
        with pytest.raises(VidrepairError, match="is closed already"):
            masks.read(2)


def small(folder: Path) -> Path:
    write_clip(folder / "a.mkv", frames=FRAMES, size=(32, 24), pix_fmt="gray")
    return folder / "a.mkv"


def sound(folder: Path) -> Path:
    write_clip(folder / "full.mkv", frames=3, extras=Extras(audio=1))
    with av.open(str(folder / "full.mkv")) as full, av.open(str(folder / "a.mka"), "w") as alone:
        stream = alone.add_stream_from_template(full.streams.audio[0])
        for packet in full.demux(full.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                alone.mux(packet)
    return folder / "a.mka"


def empty(folder: Path) -> Path:
    (folder / "m").mkdir()
    return folder / "m"


def gap(folder: Path) -> Path:
    (pictures(folder / "m") / "mask_000003.png").unlink()
    return folder / "m"


def two_series(folder: Path) -> Path:
    return pictures(pictures(folder / "m"), name="b%d.png")


def unnumbered(folder: Path) -> Path:
    shutil.copy(pictures(folder / "m") / "mask_000000.png", folder / "m" / "cover.png")
    return folder / "m"


def twins(folder: Path) -> Path:
    shutil.copy(pictures(folder / "m") / "mask_000000.png", folder / "m" / "mask_0.png")
    return folder / "m"


def broken_picture(folder: Path) -> Path:
    whole = (pictures(folder / "m") / "mask_000000.png").read_bytes()
    (folder / "m" / "mask_000000.png").write_bytes(whole[:30])
    return folder / "m"


def playlist(folder: Path) -> Path:
    (folder / "a.m3u8").write_text("#EXTM3U\n")
    return folder / "a.m3u8"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (small, "is 32x24 and the film 40x30"),
        (sound, "has no video stream"),
        (lambda folder: folder / "none.mkv", "does not exist"),
        (empty, "holds no numbered picture"),
        (lambda folder: empty(folder) / "mask_%06d.png", "holds no numbered picture"),
        (lambda folder: folder / "none" / "mask_%06d.png", "cannot be read"),
        (gap, "has no picture of number 3"),
        (two_series, "more than one series"),
        (unnumbered, "has no number before its ending"),
        (twins, "have the same number"),
        (broken_picture, "frame 0 of .* cannot be decoded|holds no picture|cannot be read"),
        (playlist, "is a playlist"),
    ],
)
def test_what_is_no_mask_is_named(
    tmp_path: Path, film: Clip, made: Callable[[Path], Path], said: str
) -> None:
    path = made(tmp_path)
    with pytest.raises(InputError, match=f"^--protect-mask.*({said}).*;") as error:
        open_masks(MaskSettings(path), film, flag="--protect-mask")
    assert "\n" not in str(error.value)


def test_no_alpha_where_it_is_asked_for(tmp_path: Path, film: Clip) -> None:
    settings = MaskSettings(video(tmp_path / "a.mkv"), channel="alpha")
    with pytest.raises(InputError, match=r"has no alpha plane \(gray\).*--mask-channel luma"):
        open_masks(settings, film)


def opened(path: Path, film: Clip) -> MaskReader:
    return open_masks(MaskSettings(path), film)


def test_a_mask_that_ends_before_the_film(tmp_path: Path, film: Clip) -> None:
    folder = pictures(tmp_path / "m")
    (folder / "mask_000004.png").unlink()
    for path in (video(tmp_path / "a.mkv", count=4), folder):
        with opened(path, film) as masks:
            for number in range(4):
                masks.read(number)
            with pytest.raises(InputError, match=r"has 4 frames and the film about 5.*frame 4"):
                masks.read(4)


def test_a_mask_that_goes_on_after_the_film(tmp_path: Path, film: Clip) -> None:
    folder = pictures(tmp_path / "m")
    shutil.copy(folder / "mask_000004.png", folder / "mask_000005.png")
    for path in (video(tmp_path / "a.mkv", count=6), folder):
        with opened(path, film) as masks:
            for number in range(FRAMES):
                masks.read(number)
            with pytest.raises(InputError, match="more frames than the film, which has 5"):
                masks.finish()


def test_a_picture_of_another_size_on_the_way(tmp_path: Path, film: Clip) -> None:
    folder = pictures(tmp_path / "m")
    assert cv2.imwrite(str(folder / "mask_000002.png"), np.zeros((20, 20), np.uint8))
    with opened(folder, film) as masks:
        masks.read(1)
        with pytest.raises(InputError, match="is 20x20 and the film 40x30"):
            masks.read(2)


def test_a_video_that_breaks_off(tmp_path: Path, film: Clip) -> None:
    """The frames after a lost one would be out of step: better no mask than a wrong one."""
    path = video(tmp_path / "a.mkv", codec="libx264", pix_fmt="yuv420p", options={"g": "1"})
    with av.open(str(path)) as source:
        third = [bytes(packet) for packet in source.demux(video=0) if packet.size][2]
    broken = path.read_bytes().replace(third, b"\xff" * len(third))
    path.write_bytes(broken)
    said = r"^--mask-in: frame 2 of .* (damaged|decoded)"
    with opened(path, film) as masks, pytest.raises(InputError, match=said):
        [masks.read(number) for number in range(FRAMES)]


def test_the_film_is_no_mask_of_itself(tmp_path: Path, film: Clip) -> None:
    with pytest.raises(UsageError, match="is the source itself"):
        opened(Path(film.name), film)
    linked = tmp_path / "link.mkv"
    linked.symlink_to(film.name)
    with pytest.raises(UsageError, match="is the source itself"):
        opened(linked, film)
    for path in (video(tmp_path / "a.mkv"), pictures(tmp_path / "m")):
        with pytest.raises(UsageError, match="is an output itself"):
            open_masks(MaskSettings(path), film, outputs=[tmp_path / "b.mkv", path])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"threshold": 1.0}, "--mask-threshold 1 "),
        ({"threshold": -0.1}, "--mask-threshold -0.1"),
        ({"threshold": float("nan")}, "--mask-threshold nan"),
        ({"grow": -1}, "--mask-grow -1"),
        ({"grow": 101}, "--mask-grow 101"),
        ({"grow": 1.5}, "--mask-grow 1.5"),
        ({"invert": "yes"}, "--mask-invert 'yes'"),
        ({"channel": "red"}, "--mask-channel red"),
    ],
)
def test_settings_name_the_flag(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        MaskSettings(Path("a.mkv"), **wrong)
