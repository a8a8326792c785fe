"""preview: frames chosen from a film, each restored alone, as a run would restore it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from clips import moving, write_clip
from PIL import Image

import vidrepair
from vidrepair.batch import Grid, Profiler, Profilers
from vidrepair.cli import main
from vidrepair.decode import open_source
from vidrepair.display import HLG, PQ, show_difference, show_matte, show_planes
from vidrepair.errors import UsageError
from vidrepair.frames import Frame, Picture
from vidrepair.glimpse import Glimpse, Glimpses, Subject
from vidrepair.noise import known_profile
from vidrepair.pipeline import run_job
from vidrepair.previews import PREVIEW, PreviewJob, make_preview
from vidrepair.private_span import private_grid, private_spans
from vidrepair.regions import Box, busiest_windows
from vidrepair.scan import REASONS, Place, choose, scan_film
from vidrepair.settings import DamageSettings, EngineSettings, Job, OutputSettings, RepairSettings
from vidrepair.sheet import GAP, MARGIN, Row, Sheet, Strip, draw, plan_frames
from vidrepair.tags import pixel_format

SIZE = (96, 64)
DIRTY = 70
"""A frame of the film with a speck."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two noisy shots of 60 and 40 frames, with a cut and a speck; lossless."""
    frames = [*moving(*SIZE, 60), *moving(*SIZE, 40, seed=2)]
    luma = np.frombuffer(frames[DIRTY].planes[0], np.uint8).reshape(SIZE[1], -1)
    luma[30:36, 40:46] = 5
    path = tmp_path_factory.mktemp("preview") / "film.mkv"
    write_clip(path, frames=frames, size=SIZE, options={"g": "12"})
    return path


@pytest.fixture(scope="module")
def run_of(film: Path) -> dict[int, Frame]:
    """The frames of a whole run, by number."""
    output = film.with_name("run.mkv")
    run_job(Job(film, output, target=OutputSettings(codec="ffv1")))
    return read(output)


def read(path: Path) -> dict[int, Frame]:
    with open_source(path) as source:
        return {item.number: item for item in source.read() if isinstance(item, Frame)}


def glimpses(
    path: Path, numbers: list[int], settings: RepairSettings | None = None, rate: int = 25
) -> list[Glimpse]:
    settings = settings or RepairSettings()
    with open_source(path) as source:
        clip, way = source.clip, source.interlacing().way(settings.interlace)
    subject = Subject(path, clip, way, settings, (settings.denoise,), EngineSettings())
    with ExitStack() as owned:
        places = [Place(Fraction(number, rate), ()) for number in numbers]
        return list(Glimpses(subject, owned).restore(places))


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = np.mean((one.astype(float) - other) ** 2)
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def test_a_frame_is_what_a_run_makes_of_it(film: Path, run_of: dict[int, Frame]) -> None:
    numbers = [0, 3, 7, 30, 59, 60, 69, DIRTY, 99]
    for number, glimpse in zip(numbers, glimpses(film, numbers), strict=True):
        assert glimpse.frame.number == number
        whole = run_of[number]
        assert min(map(psnr, glimpse.after[0], whole.planes)) > 45, number
        # And there is something to be compared: much was changed.
        assert psnr(glimpse.decoded[0], whole.planes[0]) < 35


def test_near_a_cut_it_equals_the_run_bit_for_bit(film: Path, run_of: dict[int, Frame]) -> None:
    for glimpse in glimpses(film, [0, 2, 60, 64]):
        for one, other in zip(glimpse.after[0], run_of[glimpse.frame.number].planes, strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_is_repaired_is_shown(film: Path) -> None:
    (glimpse,) = glimpses(film, [DIRTY])
    assert glimpse.touch.codes is not None
    assert (glimpse.touch.codes[31:35, 41:45] > 0).all()
    assert (glimpse.touch.codes > 0).mean() < 0.03
    assert [defect.kind for defect in glimpse.touch.defects] == ["dust"]


def test_far_from_a_cut_it_stays_close(tmp_path: Path) -> None:
    """More than T frames into a shot the place on the grid is not known."""
    path = tmp_path / "long.mkv"
    write_clip(path, frames=moving(*SIZE, 150), size=SIZE)
    settings = RepairSettings(damage=DamageSettings(kinds=()))
    output = tmp_path / "run.mkv"
    run_job(Job(path, output, settings, target=OutputSettings(codec="ffv1")))
    whole = read(output)
    for glimpse in glimpses(path, [80, 126, 149], settings):
        assert psnr(glimpse.after[0][0], whole[glimpse.frame.number].planes[0]) > 45


@pytest.mark.parametrize(
    ("size", "noise", "at", "steps"),
    [
        ((1312, 744), (5.0, 5.0), 9, 3),
        ((1312, 744), (30.0, 5.0), 9, 4),
        ((1312, 744), (5.0, 30.0), 9, 4),
        # As a shot starts: mirrored, then what is before it.
        ((1312, 744), (5.0, 5.0), 2, 5),
        ((64, 48), (5.0, 5.0), 9, 8),
    ],
)
def test_few_steps_lead_to_a_frame_of_a_large_picture(
    tmp_path: Path, size: tuple[int, int], noise: tuple[float, float], at: int, steps: int
) -> None:
    path = tmp_path / "a.mkv"
    write_clip(path, frames=moving(*size, 12), size=size)
    profile = known_profile(*noise, rgb=False)
    noises = Profiler(lambda _core: None, lambda _own, _before: profile)
    with open_source(path) as source:
        frames = [item for item in source.read() if isinstance(item, Frame)]
        grid = private_grid(Grid(8, 64), source.clip.picture)
        (found,) = private_spans(
            iter(frames),
            Fraction(at, 25),
            grid,
            lambda: Profilers(noises),
            opens_film=True,
        )
    # Those, the frame, and the one after it; and those at its ends that are looked at alone.
    assert len(found.span.walk) == 1 + steps + 2 + 1
    assert found.span.walk[1 + steps].number == at


def test_fields_flicker_and_grain_are_those_of_a_run(tmp_path: Path) -> None:
    frames = moving(96, 64, 40)
    woven = []
    for one, other in zip(frames[::2], frames[1::2], strict=True):
        for plane, later in zip(one.planes, other.planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
            rows[1::2] = np.frombuffer(later, np.uint8).reshape(plane.height, -1)[1::2]
        woven.append(one)
    path = tmp_path / "tape.mkv"
    write_clip(path, frames=woven, size=(96, 64))
    settings = RepairSettings(
        denoise=(60.0, 60.0), grain=50.0, deflicker=100.0, interlace="fields", max_change=30.0
    )
    output = tmp_path / "run.mkv"
    run_job(Job(path, output, settings, target=OutputSettings(codec="ffv1")))
    whole = read(output)
    for glimpse in glimpses(path, [0, 3, 12], settings):
        assert min(map(psnr, glimpse.after[0], whole[glimpse.frame.number].planes)) > 45


def test_a_frame_that_is_shown_twice_is_had_twice(tmp_path: Path) -> None:
    frames = moving(*SIZE, 30)
    for plane, source in zip(frames[21].planes, frames[20].planes, strict=True):
        plane.update(bytes(source))
    path = tmp_path / "twice.mkv"
    write_clip(path, frames=frames, size=SIZE)
    first, second = glimpses(path, [20, 21])
    assert (first.frame.number, second.frame.number) == (20, 21)
    np.testing.assert_array_equal(first.after[0][0], second.after[0][0])


def opened(sheet: Path) -> np.ndarray:
    with Image.open(sheet) as image:
        return np.asarray(image)


def levels(path: Path) -> Path:
    """Thirty frames a level: gray with dirt, dark, noisy, bright, moving, gray that flickers, and
    black.
    """
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:64, :96]
    frames = []
    for number in range(210):
        part, shift = number // 30, 6 * (number % 30) if number // 30 == 4 else 0
        wave = np.sin((columns + shift) / 8.0) * np.cos(rows / 9.0)
        level = {0: 110, 1: 50, 2: 115, 3: 190, 4: 112, 5: 111, 6: 16}[part]
        level += 12 * (number % 2) * (part == 5)
        noise = {2: 14.0, 6: 0.0}.get(part, 2.0)
        picture = level + 25.0 * wave * (part != 6) + rng.normal(0, noise, wave.shape)
        if number in (1, 11):
            picture[10:50, 20:80] = 250
        frame = av.VideoFrame(96, 64, "gray")
        view = np.frombuffer(frame.planes[0], np.uint8).reshape(64, -1)
        view[:, :96] = picture.clip(0, 255).round()
        frames.append(frame)
    write_clip(path, frames=frames, size=SIZE, pix_fmt="gray", options={"g": "10"})
    return path


def test_telling_frames_are_chosen(tmp_path: Path) -> None:
    path = levels(tmp_path / "levels.mkv")
    with open_source(path) as source:
        scan = scan_film(path, source.clip)
    places = choose(scan.looks, 6)
    parts = {reason: int(place.seconds * 25) // 30 for place in places for reason in place.reasons}
    assert [parts[reason] for reason in REASONS] == [2, 4, 1, 3]  # black shows nothing
    assert len(places) == 6
    assert list(places) == sorted(places, key=lambda place: place.seconds)
    assert [place.reasons for place in choose(scan.looks, 1)] == [("noisiest",)]
    assert len(choose(scan.looks[:2], 6)) == 2


def test_film_on_twos_has_motion(tmp_path: Path) -> None:
    """Every frame is shown twice: a step between equal frames says nothing."""
    path = tmp_path / "twos.mkv"
    frames = [one for frame in moving(*SIZE, 30) for one in (frame, frame)]
    write_clip(path, frames=frames, size=SIZE)
    with open_source(path) as source:
        assert min(look.motion for look in scan_film(path, source.clip).looks) > 0.0


def test_a_long_film_is_not_read_through(tmp_path: Path) -> None:
    """Key frames are sought, and each frame that is shown costs little more than 2 T."""
    path = tmp_path / "long.mkv"
    write_clip(path, frames=moving(64, 48, 100) * 30, size=(64, 48), options={"g": "25"})
    report = make_preview(PreviewJob(path, tmp_path / "sheet.png", frames=3))
    assert len(report.frames) == 3
    assert report.decoded < 900  # of 3,000
    spread = [frame.seconds for frame in report.frames]
    assert max(spread) - min(spread) > 30


def test_the_cells_hold_the_pictures(film: Path, run_of: dict[int, Frame], tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    strengths = ((0.0, 0.0), (100.0, 100.0))
    settings = RepairSettings(damage=DamageSettings(kinds=()))
    report = make_preview(
        PreviewJob(film, sheet, settings, strengths=strengths, at=(Fraction(2, 25),))
    )
    assert [(frame.frame, frame.reasons) for frame in report.frames] == [(2, ("as asked",))]
    pixels = opened(sheet)
    source = read(film)[2]
    before = show_planes(source.planes, source.picture).repeat(2, axis=0).repeat(2, axis=1)
    height, width = before.shape[:2]
    assert (width, height) == (192, 128)  # a small picture is magnified
    top = pixels.shape[0] - MARGIN - height
    cells = [
        pixels[top : top + height, left : left + width]
        for left in range(MARGIN, MARGIN + 5 * (width + GAP), width + GAP)
    ]
    np.testing.assert_array_equal(cells[0], before)
    np.testing.assert_array_equal(cells[1], before)  # of strength 0
    after = show_planes(run_of[2].planes, source.picture)
    assert psnr(cells[2][::2, ::2], after) > 38
    np.testing.assert_array_equal(
        cells[4][::2, ::2], show_matte(source.planes, source.picture, None)
    )
    change = show_difference(source.planes, run_of[2].planes, source.picture)
    assert psnr(cells[3][::2, ::2], change) > 20  # eight times as far apart as the pictures


def test_a_difference_is_shown_eight_times_as_large() -> None:
    form = pixel_format("gray10le")
    assert form is not None
    picture = Picture(8, 4, form, full_range=True)
    before = np.full((4, 8), 400, np.uint16)
    shown = show_difference([before], [before + 20], picture)  # by 5 of 255
    assert np.abs(shown.astype(int) - (128 + 40)).max() <= 1
    shown = show_difference([before], [before - 200], picture)
    assert (shown == 0).all()


def test_a_large_picture_has_a_detail_of_single_samples() -> None:
    plan = plan_frames(1920, 1080, 4)
    assert plan.width <= 600
    assert plan.detail is not None
    assert plan.zoom == 1
    assert plan_frames(720, 576, 4, Fraction(16, 15)).width > plan_frames(720, 576, 4).height
    weights = np.zeros((100, 200))
    weights[40:50, 120:140] = 1.0
    weights[90, 5] = 2.0
    first, second = busiest_windows(weights, 20, 40, 2)
    assert first == Box(35, 110, 55, 150)  # the patch in its middle
    assert second.top <= 90 < second.bottom
    assert busiest_windows(np.zeros((4, 4)), 10, 10) == [Box(0, 0, 4, 4)]


def test_words_never_leave_the_sheet() -> None:
    cell = np.full((40, 60, 3), 200, np.uint8)
    row = Row("title " * 80, "x" * 900, (Strip(("a label too long for it", "b"), (cell, cell)),))
    drawn = draw(Sheet("a\nb " + "word " * 200, ("",), (row,)))
    assert drawn.shape[1] == 960
    assert (drawn[:, -MARGIN:] == drawn[0, 0]).all()


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "yuv444p12le", "gbrp", "gray10le"])
@pytest.mark.parametrize("full_range", [False, True])
def test_black_white_and_gray_are_shown_as_such(name: str, *, full_range: bool) -> None:
    form = pixel_format(name)
    assert form is not None
    picture = Picture(8, 4, form, full_range=full_range)
    full = full_range or form.family == "rgb"
    black, white = (0, form.peak) if full else (16 << form.bits - 8, 235 << form.bits - 8)
    for code, expected in ((black, 0), (white, 255), ((black + white + 1) // 2, 128)):
        planes = [np.full((4, 8), code, np.uint8 if form.bits == 8 else np.uint16)]
        if form.family == "rgb":
            planes *= 3
        elif form.family == "yuv":
            size = (-(-4 // form.sampling[1]), -(-8 // form.sampling[0]))
            planes += [np.full(size, 2 ** (form.bits - 1), planes[0].dtype)] * 2
        shown = show_planes(planes, picture)
        assert np.abs(shown.astype(int) - expected).max() <= 1
        assert np.abs(show_difference(planes, planes, picture).astype(int) - 128).max() <= 1


def test_hdr_is_dimmed_to_a_screen() -> None:
    form = pixel_format("yuv420p10le")
    assert form is not None
    picture = Picture(4, 2, form, "bt2020")
    chroma = [np.full((1, 2), 512, np.uint16)] * 2

    def gray(code: int, transfer: int) -> int:
        planes = [np.full((2, 4), code, np.uint16), *chroma]
        return int(show_planes(planes, picture, transfer).mean())

    for transfer in (PQ, HLG):
        ramp = [gray(code, transfer) for code in range(64, 941, 73)]
        assert ramp == sorted(ramp)
        assert ramp[0] == 0
        assert ramp[-1] == 255
    # Diffuse white: 58 % of PQ, 75 % of HLG.
    assert 165 < gray(64 + round(0.58 * 876), PQ) < 215
    assert 165 < gray(64 + round(0.75 * 876), HLG) < 215


def test_the_command(film: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["preview", str(film), "-o", str(sheet), "--json"]
    words += ["--at", "1.2", "--at", "3", "--at", "1.2"]
    done = CliRunner().invoke(main, [*words, "--denoise", "50,100/70", "--log-level", "error"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [frame["frame"] for frame in told["frames"]] == [30, 75]
    assert told["frames"][0]["noise"][0] > 5
    assert opened(sheet).shape[1] <= 2400
    assert "preview" in PREVIEW
    before = opened(sheet)
    twice = [*words, "-y", "--denoise", "50", "--denoise", "100/70", "--log-level", "error"]
    assert CliRunner().invoke(main, twice).exit_code == 0
    np.testing.assert_array_equal(opened(sheet), before)


def test_the_api_shows_the_same(film: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    report = vidrepair.preview(film, sheet, strengths=[(40.0, 40.0)], at=[Fraction(1)])
    assert report.frames[0].frame == 25
    assert sheet.exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["gone.mkv", "-o", "sheet.png"], 3, "does not exist"),
        (["film.mkv", "-o", "sheet.jpg"], 2, "no .png file"),
        (["film.mkv", "-o", "sheet.png", "--at", "9"], 2, "lies behind the last frame"),
        (["film.mkv", "-o", "sheet.png", "--at", "4"], 2, "lies behind the last frame"),
        (["film.mkv", "-o", "sheet.png", "--at", "1", "--frames", "3"], 2, "--at names"),
        (["-", "-o", "sheet.png"], 3, "- is a pipe, which only run reads"),
        (["film.mkv", "-o", "there.png"], 2, "exists"),
        (["film.mkv", "-o", "none/sheet.png"], 1, "does not exist"),
        (["film.mkv", "-o", "sheet.png", "--frames", "0"], 2, "1 to 24"),
        (["film.mkv", "-o", "sheet.png", "--denoise", "50,x"], 2, "50,70,100"),
        (["film.mkv", "-o", "sheet.png", "--denoise", "50,101"], 2, "0 to 100"),
        (["film.mkv", "-o", "sheet.png", "--bad-frames", "3"], 2, "no such option"),
        (["note.txt", "-o", "sheet.png"], 3, "note.txt"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str],
    code: int,
    said: str,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "film.mkv").symlink_to(film)
    (tmp_path / "there.png").write_bytes(b"kept")
    (tmp_path / "note.txt").write_text("no film")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["preview", *words])
    assert done.exit_code == code, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"film.mkv", "there.png", "note.txt"}
    assert (tmp_path / "there.png").read_bytes() == b"kept"


def test_a_strength_that_is_asked_for_twice_is_one_column(film: Path, tmp_path: Path) -> None:
    pairs = ((50.0, 50.0), (100.0, 70.0), (50.0, 50.0))
    assert PreviewJob(film, tmp_path / "s.png", strengths=pairs).shares == pairs[:2]


@pytest.mark.parametrize(
    ("denoise", "noise", "told"),
    [("50,100", "1", True), ("100", "1", False), ("50,100", "1,8", False), ("50,100", "8", False)],
)
def test_strengths_that_look_alike_are_told(
    film: Path, tmp_path: Path, denoise: str, noise: str, told: bool
) -> None:
    words = ["preview", str(film), "-o", str(tmp_path / "a.png"), "--frames", "1"]
    done = CliRunner().invoke(main, [*words, "--denoise", denoise, "--noise", noise])
    assert (done.exit_code, "the strengths look alike" in done.stderr) == (0, told)


def test_frame_by_frame_settings_are_refused(film: Path, tmp_path: Path) -> None:
    settings = RepairSettings(bad_frames=(range(3, 4),))
    with pytest.raises(UsageError, match="jumps through the film"):
        PreviewJob(film, tmp_path / "sheet.png", settings)
    with pytest.raises(UsageError, match="--grain"):
        PreviewJob(film, tmp_path / "s.png", RepairSettings(grain=9.0), strengths=((0.0, 0.0),))


def test_an_interrupted_preview_leaves_nothing(film: Path, tmp_path: Path) -> None:
    def stop(_state: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_preview(PreviewJob(film, tmp_path / "sheet.png"), stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["film_damaged.mkv", "tears_noisy.mp4"])
def test_the_samples(name: str, samples: Path, tmp_path: Path) -> None:
    """Against a run, at the first of the frames that are chosen."""
    path = samples / name
    with open_source(path) as source:
        scan = scan_film(path, source.clip)
    place = choose(scan.looks, 6)[1]
    number = round(place.seconds * 24)
    run_job(Job(path, tmp_path / "run.mkv", target=OutputSettings(codec="ffv1", frames=number + 1)))
    whole = read(tmp_path / "run.mkv")[number]
    (glimpse,) = glimpses(path, [number], rate=24)
    assert glimpse.frame.number == number
    assert psnr(glimpse.after[0][0], whole.planes[0]) > 50
