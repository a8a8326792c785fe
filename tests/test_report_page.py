"""report: one page on what was done to a film, read by a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from calling import call
from clips import Extras, moving, read_frames, write_clip
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

import vidrepair
from vidrepair import plots
from vidrepair.cli.run import _show
from vidrepair.decode import open_source
from vidrepair.errors import VidrepairError
from vidrepair.findings import DefectFacts
from vidrepair.in_step import frames_of
from vidrepair.page_stills import red_where, within
from vidrepair.places import Places, Spot, spots_of, standing_out
from vidrepair.regions import Box
from vidrepair.report import Report
from vidrepair.report_page import ReportJob, make_report
from vidrepair.strongest import Strongest
from vidrepair.survey import Survey, survey
from vidrepair.tags import Damage

SIZE = (160, 96)
CUT, COUNT = 40, 72
DUST = {15: (20, 30), 55: (60, 100)}
"""Row and column of a speck in some frames of the source."""
FALSE = {9: (40, 112), 33: (8, 8), 60: (72, 40)}
"""The same of what is put over the finished film: repairs of nothing."""
SIDE = 10
NOISE = 4.0
ANY_RUN = Report(
    *("in.mkv", "out.mkv", True, 1, 1, 0, 0, 0, 1.0, {}, (1.0, 1.0), Damage(), {}, 0.0, (), {}),
    *("engine", 1.0, ()),
)


def spot(frame: av.VideoFrame, place: tuple[int, int], code: int | None = None) -> None:
    """Set a square of luma to a code, or to that of its mean turned over."""
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
    window = luma[place[0] : place[0] + SIDE, place[1] : place[1] + SIDE]
    window[...] = (40 if window.mean() > 127 else 210) if code is None else code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film, in.mkv, and what a run made of it and tells of it."""
    folder = tmp_path_factory.mktemp("report")
    frames = [*moving(*SIZE, CUT, noise=NOISE), *moving(*SIZE, COUNT - CUT, seed=3, noise=NOISE)]
    for number, place in DUST.items():
        spot(frames[number], place, 250)
    write_clip(folder / "in.mkv", frames=frames, size=SIZE, extras=Extras(audio=1))
    flags = ("-c", "ffv1", "--sidecar", "--mask-out", folder / "matte.mkv", "--progress", "none")
    done = call("run", folder / "in.mkv", "-o", folder / "out.mkv", "--report", *flags)
    assert done.exit_code == 0, done.output
    assert "out.mkv.vr.html: " in done.output
    return folder


@pytest.fixture(scope="module")
def planted(made: Path) -> Path:
    """The finished film with three repairs of nothing, and without its sound."""
    frames = read_frames(made / "out.mkv")
    copies = [av.VideoFrame(*SIZE, "yuv420p") for _ in frames]
    for number, (frame, copy) in enumerate(zip(frames, copies, strict=True)):
        for old, new in zip(frame.planes, copy.planes, strict=True):
            shape = (new.height, -1)
            rows = np.frombuffer(old, np.uint8).reshape(shape)[:, : new.width]
            np.frombuffer(new, np.uint8).reshape(shape)[:, : new.width] = rows
        if number in FALSE:
            spot(copy, FALSE[number])
    write_clip(made / "planted.mkv", frames=copies, size=SIZE)
    shutil.copy(made / "out.mkv.vr.json", made / "planted.mkv.vr.json")
    return made / "planted.mkv"


@pytest.fixture(scope="module")
def seen(made: Path) -> Survey:
    """What is found in both films without a sidecar."""
    return survey(made / "out.mkv", made / "in.mkv")


def page_of(folder: Path, film: str = "out.mkv") -> str:
    return (folder / f"{film}.vr.html").read_text(encoding="utf-8")


class Outline(HTMLParser):
    """Tags of a page, as they open, and those that were never closed."""

    VOID = frozenset({"meta", "link", "img", "input", "path", "use", "wbr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_a_run_writes_the_page_beside_its_film(made: Path) -> None:
    text = page_of(made)
    assert len(text) < 8e6
    assert "CPU seconds by stage" in text
    assert "what the matte marks" in text
    assert "Nothing is missing." in text
    assert "min_confidence</th><td>0.75</td>" in text
    assert "Dust and hair: changed most (2)" in text
    assert [path.name for path in made.iterdir() if path.name.startswith(".")] == []


def test_the_page_holds_all_it_shows_and_reads_well_without_eyes(made: Path) -> None:
    page = Outline(page_of(made))
    assert page.open == []
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
    pictures = page.of("img")
    assert len(pictures) >= 3 * len(page.of("input")) - 3
    assert all("alt" in attrs for attrs in pictures)
    assert all(attrs.get("aria-label") or attrs.get("id") for attrs in page.of("input"))
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    named = {attrs["href"][1:] for attrs in page.of("a") if attrs["href"]}
    named |= {attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs}
    assert named <= set(names)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert page.of("html")[0]["lang"] == "en"


def test_repairs_of_nothing_come_first(planted: Path, tmp_path: Path) -> None:
    source = planted.with_name("in.mkv")
    done = call("report", planted, "--against", source, "-o", tmp_path / "page.html", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["unlisted"] == len(FALSE)
    assert any(one["where"].startswith("audio stream") for one in told["differences"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "differs from the source" in text or "differ from the source" in text
    first = text.index('<h3 class="alarm">Not in the sidecar (3)</h3>')
    group = text[first : text.index("Dust and hair: changed most", first)]
    shown = re.findall(
        r"<strong>[^<]*, frame (\d+)</strong> (\d+)x(\d+) samples at column (\d+), row (\d+)", group
    )
    assert {int(one[0]) for one in shown} == set(FALSE)
    for number, width, height, column, row in ((int(part) for part in one) for one in shown):
        top, left = FALSE[number]
        # On blocks of four samples.
        assert row <= top + 2
        assert row + height >= top + SIDE - 2
        assert column <= left + 2
        assert column + width >= left + SIDE - 2
        assert width <= SIDE + 8
        assert height <= SIDE + 8


def test_what_is_measured(seen: Survey) -> None:
    assert [(shot.first, shot.last) for shot in seen.shots] == [(0, CUT - 1), (CUT, COUNT - 1)]
    before, after = (np.nanmean(noise.luma) for noise in seen.noise)
    assert before == pytest.approx(NOISE, rel=0.15)
    assert after < 0.5 * before
    assert {place.frame for place in seen.places} >= set(DUST)
    assert seen.matte == "change"
    numbers = [still.number for still in seen.stills]
    assert len(set(numbers)) == len(numbers)
    assert set(numbers[:2]) == set(DUST)
    assert not any(still.worst for still in seen.stills[2:] if still.strength == 0.0)
    means = [
        frame.to_ndarray()[: SIZE[1]].mean() for frame in (read_frames(Path(seen.before.name)))
    ]
    np.testing.assert_allclose(seen.lumas[0], means, atol=0.01)


def test_an_equal_film_shows_nothing_to_look_at(made: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "flat.mkv", frames=[flat() for _ in range(6)], size=SIZE)
    shutil.copy(tmp_path / "flat.mkv", tmp_path / "same.mkv")
    report = vidrepair.write_report(tmp_path / "same.mkv", tmp_path / "flat.mkv")
    assert (report.places, report.differences) == (0, ())
    assert "No place stands out" in page_of(tmp_path, "same.mkv")


def test_the_noise_of_a_copy_is_that_of_its_film(made: Path, tmp_path: Path) -> None:
    """What is known of H.264 from its quantiser would be added to one of them."""
    frames = moving(*SIZE, 24, noise=NOISE)
    write_clip(tmp_path / "a.mp4", frames=frames, size=SIZE, codec="libx264")
    shutil.copy(tmp_path / "a.mp4", tmp_path / "same.mp4")
    vidrepair.write_report(tmp_path / "same.mp4", tmp_path / "a.mp4")
    page = page_of(tmp_path, "same.mp4")
    before, after = re.findall(r"Noise in luma</dt>\s*<dd>([\d.]+) \u2192 ([\d.]+)", page)[0]
    assert before == after != "0.00"


def flat() -> av.VideoFrame:
    frame = av.VideoFrame(*SIZE, "yuv420p")
    for plane in frame.planes:
        np.frombuffer(plane, np.uint8)[...] = 90
    return frame


def test_a_part_of_a_film(made: Path, tmp_path: Path) -> None:
    part = ("--ss", "0.4", "--to", "1.2")
    flags = ("--denoise", "0", "--repair", "none", "-c", "ffv1", "--progress", "none")
    out = tmp_path / "part.mkv"
    assert call("run", made / "in.mkv", "-o", out, *part, *flags, "--report").exit_code == 0
    assert "Nothing is missing." in page_of(tmp_path, "part.mkv")
    done = call("report", out, "--against", made / "in.mkv", *part, "-y", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["differences"] == []


def weaker_and_weaker(film: Path, kind: str, sure: Sequence[float]) -> Places:
    """The places of a film, one a frame, of these confidences, each weaker than the one before."""
    with open_source(film) as source:
        frame = next(frames_of(source))
    places = Places((1, 1))
    for number, confidence in enumerate(sure):
        one = replace(frame, number=number)
        # Not where it was in the frame before: else both are one place.
        box = Box(8, 8, 16, 16) if number % 2 else Box(60, 100, 68, 108)
        places.add(one, one, [Spot(kind, box, 100.0 - number, confidence)], number / 25)
    return places


def test_the_least_sure_are_kept_beside_the_strongest(made: Path) -> None:
    sure = [0.7 + number % 20 / 100 for number in range(40)]
    places = weaker_and_weaker(made / "in.mkv", "dust", sure)
    assert [place.frame for place in places.best()] == [*range(12), *range(20, 32)]


def test_a_source_that_is_cut_off_is_told_on_the_page(made: Path, tmp_path: Path) -> None:
    data = (made / "in.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    flags = ("--denoise", "0", "--repair", "none", "-c", "ffv1", "--progress", "none")
    done = call("run", tmp_path / "cut.mkv", "-o", tmp_path / "out.mkv", "--report", *flags)
    assert "truncated" in done.stderr
    assert "The source is damaged" in page_of(tmp_path)
    assert "The source is damaged" not in page_of(made)


def test_what_is_sure_is_not_among_the_least_sure(made: Path) -> None:
    sure = [0.8 if number == 27 else 1.0 for number in range(30)]
    places = weaker_and_weaker(made / "in.mkv", "scratch", sure)
    assert [place.frame for place in places.best()] == [*range(12), 27]
    assert places.counts == {"scratch": 30}


def test_a_place_names_its_line_of_the_sidecar(made: Path) -> None:
    listed = json.loads((made / "out.mkv.vr.json").read_text())["defects"]
    page = page_of(made, "out.mkv")
    named = re.findall(r"In the sidecar: frame (\d+), box (\[[\d, ]+\])", page)
    assert named
    for frame, box in named:
        assert (int(frame), json.loads(box)) in [(one["frame"], one["box"]) for one in listed]


def test_what_stands_out_within_one_finding_is_one_place() -> None:
    change = np.zeros((24, 40), dtype=np.float32)
    change[2:4, 10] = 30.0
    change[16:20, 10] = 40.0  # the same scratch, seen again below
    change[12, 30] = 20.0
    scratch = DefectFacts(0, "scratch", (8, 41, 80, 43), 0.9)
    size, marked = (96, 160), standing_out(change)
    found = spots_of(change, marked, size, [scratch], rebuilt=False)
    assert [(spot.kind, spot.box) for spot in found] == [
        ("scratch", Box(8, 40, 80, 44)),
        ("unlisted", Box(48, 120, 52, 124)),
    ]
    assert found[0].strength == pytest.approx(np.sqrt(2 * 30.0**2 + 4 * 40.0**2))


def test_a_copy_is_accounted_for_by_the_frame_it_shows_again(made: Path, tmp_path: Path) -> None:
    """The sidecar lists what was found once; the second frame was changed with the first."""
    frames = [*moving(*SIZE, 30, noise=NOISE)]
    spot(frames[15], (20, 30), 250)
    doubled = [frames[number - (number > 15)] for number in range(31)]
    write_clip(tmp_path / "in.mkv", frames=doubled, size=SIZE)
    flags = ("-c", "ffv1", "--denoise", "0", "--sidecar", "--report", "--progress", "none")
    done = call("run", tmp_path / "in.mkv", "-o", tmp_path / "out.mkv", *flags)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out.mkv.vr.json").read_text())
    assert told["repeats"] == [16]
    assert {one["frame"] for one in told["defects"]} == {15}
    text = page_of(tmp_path)
    assert "Not in the sidecar (" not in text
    assert "frames 15 to 16" in text


def test_the_strongest_are_not_beside_one_another() -> None:
    best: Strongest[int] = Strongest(2, 10)
    for number, strength in ((9, 5.0), (10, 6.0), (25, 1.0), (44, 0.5)):
        assert best.wants(strength, number)
        best.add(strength, number, number)
    assert best.best() == [10, 25]
    assert best.in_time() == [10, 25]


def test_pictures_fit_into_their_budget() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (120, 200, 3), dtype=np.uint8) for _ in range(4)]
    for budget in (120_000, 3_000):
        coded = within(pictures, budget)
        assert sum(3 * len(uri) // 4 for uri in coded) <= budget
    speck = np.zeros((400, 400), dtype=bool)
    speck[7, 9] = True
    assert red_where(speck, (40, 40)) != red_where(np.zeros_like(speck), (40, 40))


def test_names_from_files_are_text(made: Path, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>.mkv"
    shutil.copy(made / "in.mkv", tmp_path / name)
    job = ReportJob(tmp_path / name, made / "in.mkv", tmp_path / "page.html")
    make_report(job)
    page = Outline((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert all("onerror" not in attrs for attrs in page.of("img"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["report", "gone.mkv", "--against", "in.mkv"], 3, "does not exist"),
        (["report", "out.mkv", "--against", "gone.mkv"], 3, "does not exist"),
        (["report", "out.mkv", "--against", "small.mkv"], 2, "pictures of one size"),
        (["report", "short.mkv", "--against", "in.mkv"], 2, "ends after 12 frames"),
        (["report", "out.mkv", "--against", "in.mkv", "-o", "page.pdf"], 2, "no .html file"),
        (["report", "out.mkv", "--against", "in.mkv", "-o", "there.html"], 2, "add -y"),
        (["report", "page.html", "--against", "in.mkv", "-o", "page.html"], 2, "itself"),
        (["report", "out.mkv", "--against", "in.mkv", "-o", "no/page.html"], 1, "make it first"),
        (["report", "out.mkv", "--against", "in.mkv", "--sidecar", "no.json"], 3, "check the name"),
        (
            ["report", "short.mkv", "--against", "short.mkv", "--sidecar", "out.mkv.vr.json"],
            3,
            "no",
        ),
        (
            ["report", "out.mkv", "--against", "in.mkv", "--sidecar", "a.json", "--no-sidecar"],
            2,
            "leave one of them out",
        ),
        (["report", "out.mkv", "--against", "in.mkv", "--matte", "no.mkv"], 3, "--matte"),
        (["report", "out.mkv", "--against", "in.mkv", "--matte", "small.mkv"], 3, "--matte"),
        (["report", "out.mkv", "--against", "in.mkv", "--video-stream", "9"], 2, "stream"),
        (["report", "out.mkv", "--against", "in.mkv", "--ss", "1"], 3, "another film"),
        (["report", "o.mkv", "--against", "in.mkv", "--ss", "1"], 2, "how OUT was made"),
        (["run", "in.mkv", "-o", "-", "--report"], 2, "a pipe is gone"),
        (["run", "in.mkv", "-o", "new.mkv", "--report", "--overlay", "red"], 2, "--overlay"),
        (["run", "in.mkv", "-o", "taken.mkv", "--report"], 2, "taken.mkv.vr.html exists"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str],
    code: int,
    said: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("in.mkv", "out.mkv", "out.mkv.vr.json"):
        (tmp_path / name).symlink_to(made / name)
    (tmp_path / "o.mkv").symlink_to(made / "out.mkv")
    write_clip(tmp_path / "small.mkv", frames=COUNT, size=(64, 48))
    write_clip(tmp_path / "short.mkv", frames=12, size=SIZE)
    for name in ("there.html", "taken.mkv.vr.html"):
        (tmp_path / name).write_bytes(b"kept")
    before = {path.name for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == code, done.output
    assert said in done.output
    assert "Traceback" not in done.output
    assert {path.name for path in tmp_path.iterdir()} == before
    assert (tmp_path / "there.html").read_bytes() == b"kept"


def test_without_the_extra_nothing_is_begun(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda _name: None)
    for words in (
        ("run", made / "in.mkv", "-o", tmp_path / "out.mkv", "--report"),
        ("report", made / "out.mkv", "--against", made / "in.mkv", "-y"),
    ):
        done = call(*words)
        assert done.exit_code == 2
        assert 'pip install "vidrepair[report]"' in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_film_whose_page_fails_is_said_to_be_finished(made: Path, tmp_path: Path) -> None:
    page = ReportJob(made / "out.mkv", made / "in.mkv", tmp_path / "gone" / "page.html")
    with pytest.raises(
        VidrepairError, match=r"out\.mkv is finished, and its report is not: .*gone"
    ):
        _show(page, ANY_RUN, "none")


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser without a window. CI installs it; elsewhere its tests are skipped without it."""
    program, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if program is None or driver is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is missing; install it with apt-get install chromium-driver")
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # Root, as in a container, has no sandbox; and /dev/shm is small there.
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium: webdriver.Chrome, made: Path) -> Iterator[webdriver.Chrome]:
    """The browser with the page; nothing may have gone wrong in it, and nothing left it."""
    chromium.get_log("performance")
    chromium.get((made / "out.mkv.vr.html").as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:")] == [
        chromium.current_url.split("#")[0]
    ]


def press(browser: webdriver.Chrome, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def cut_at(browser: webdriver.Chrome, picture: WebElement) -> float:
    """The share of a pair that is the source, as the browser draws it."""
    path: str = browser.execute_script(
        "return getComputedStyle(arguments[0].querySelector('.before')).clipPath", picture
    )
    (found,) = re.findall(r"inset\(0px (?:calc\(100% - ([\d.]+)%\)|([\d.]+)%)", path)
    return float(found[0] or 100.0 - float(found[1])) / 100.0


def test_sliders_move_by_key_and_by_pointer(page: webdriver.Chrome) -> None:
    slider = page.find_elements(By.CSS_SELECTOR, "input[type=range]")[1]
    pair = page.find_element(By.ID, slider.get_attribute("data-pair") or "")
    assert cut_at(page, pair) == 0.5
    slider.send_keys(Keys.END)
    assert cut_at(page, pair) == 1.0
    slider.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert cut_at(page, pair) == 0.98
    assert slider.get_attribute("aria-valuetext") == "98 % before, the rest after"
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", pair)
    width = pair.rect["width"]
    grip = ActionChains(page).move_to_element(pair).click_and_hold()
    grip.move_by_offset(round(-0.25 * width), 0).release().perform()
    assert cut_at(page, pair) == pytest.approx(0.25, abs=0.02)
    other = page.find_elements(By.CLASS_NAME, "pair")[0]
    assert cut_at(page, other) == 0.5


def test_no_picture_is_stretched(page: webdriver.Chrome) -> None:
    shapes = page.execute_script(
        """return Array.from(document.querySelectorAll(".sides img, .pair img:not(.touched)"))
        .map(image => image.clientWidth / image.clientHeight
            / (image.naturalWidth / image.naturalHeight));"""
    )
    assert len(shapes) > 8
    assert shapes == pytest.approx([1.0] * len(shapes), abs=0.03)


def test_the_overlay_is_shown_where_it_is_asked_for(page: webdriver.Chrome) -> None:
    overlay = page.find_element(By.CSS_SELECTOR, ".touched")
    assert not overlay.is_displayed()
    page.find_element(By.ID, "show-touched").send_keys(Keys.SPACE)
    assert overlay.is_displayed()
    # The speck of that frame, and little else.
    red = page.execute_script(
        """const image = arguments[0], canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        const pen = canvas.getContext("2d");
        pen.drawImage(image, 0, 0);
        const data = pen.getImageData(0, 0, canvas.width, canvas.height).data;
        return Array.from(data).filter((value, at) => at % 4 === 3 && value > 0).length;""",
        overlay,
    )
    assert 0.8 * SIDE**2 < red < 6 * SIDE**2


def test_the_timeline_jumps_to_pictures_and_back(page: webdriver.Chrome) -> None:
    marks = page.find_elements(By.CLASS_NAME, "mark")
    assert len(marks) >= 2 + len(DUST)
    assert [mark.get_attribute("tabindex") for mark in marks].count("0") == 1
    first = next(mark for mark in marks if mark.get_attribute("tabindex") == "0")
    page.execute_script("arguments[0].focus()", first)
    press(page, Keys.ARROW_RIGHT)
    second = page.switch_to.active_element
    assert second != first
    assert int(second.get_attribute("data-frame") or 0) >= int(
        first.get_attribute("data-frame") or 0
    )
    press(page, Keys.END, Keys.HOME)
    assert page.switch_to.active_element == first
    press(page, Keys.ENTER)
    WebDriverWait(page, 5).until(lambda _: page.switch_to.active_element.tag_name == "figure")
    shown = page.switch_to.active_element
    assert shown.get_attribute("id") == (first.get_attribute("href") or "").split("#")[1]
    assert f"frame {first.get_attribute('data-frame')}" in shown.text
    box = shown.rect
    top = page.execute_script("return scrollY")
    assert top <= box["y"] < top + 900
    press(page, Keys.ESCAPE)
    assert page.switch_to.active_element == first


@pytest.mark.parametrize("width", [320, 420, 1280])
def test_it_fits_into_windows(page: webdriver.Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        script = "const all = document.documentElement; return all.scrollWidth - all.clientWidth"
        assert page.execute_script(script) == 0
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_light_and_paper(page: webdriver.Chrome) -> None:
    def emulate(media: str, scheme: str) -> list[str]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        script = "const c = getComputedStyle(document.body); return [c.color, c.backgroundColor]"
        found: list[str] = page.execute_script(script)
        return found

    try:
        light, dark = emulate("", "light"), emulate("", "dark")
        assert brightness(light[1]) - brightness(light[0]) > 180
        assert brightness(dark[0]) - brightness(dark[1]) > 180
        paper = emulate("print", "dark")
        assert brightness(paper[1]) - brightness(paper[0]) > 180
        pair = page.find_element(By.CLASS_NAME, "pair")
        before, after = (
            pair.find_element(By.CLASS_NAME, side).rect for side in ("before", "after")
        )
        # Paper has no slider: both are shown whole, side by side.
        assert before["x"] + before["width"] <= after["x"]
        assert not page.find_element(By.CSS_SELECTOR, "input[type=range]").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def brightness(colour: str) -> float:
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / 3.0
