"""The sidecar: what is written comes back bit for bit, and nonsense is refused in one sentence."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import picture, write_clip

from vidrepair import sidecar_schema
from vidrepair.analysis import AnalysisBuilder, Guide
from vidrepair.batch import Grid, Profiler, Profilers, cut_spans
from vidrepair.decode import open_source
from vidrepair.errors import InputError, UsageError, VidrepairError
from vidrepair.fields import split_fields
from vidrepair.files import check_writable
from vidrepair.findings import Analysis, Fingerprint, InterlaceFacts
from vidrepair.frames import Defect, Frame, GrainSpectrum, NoiseProfile, Picture, PixelFormat, Span
from vidrepair.noise import combine, measure_span
from vidrepair.repeats import mark_repeats
from vidrepair.settings import KINDS, RepairSettings
from vidrepair.shots import number_shots
from vidrepair.sidecar import read_analysis, write_analysis
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum
from vidrepair.tags import Clip

FRAMES = 11
REPEATS = (5, 8)
SIZE = (64, 48)
DEFECTS = (
    Defect("dust", 3, (4, 8, 14, 18), 0.913),
    Defect("dust", 3, (20, 8, 24, 18), 0.8),
    Defect("scratch", 3, (0, 30, 48, 34), 1.0),
    Defect("dropout", 7, (10, 0, 12, 64), 0.777),
)
ENGINE = {"backend": "openvino", "weights": "ab" * 32, "lanes": 2, "tile": 0}
SETTINGS: dict[str, Any] = {
    "damage": {"kinds": ("dust", "scratch", "dropout"), "min_confidence": 0.75},
    "denoise": (100.0, 70.0),
    "noise": None,
}


@dataclass(frozen=True, slots=True)
class ShotShare:
    """As a report has it."""

    shot: int
    frames: int
    touched: float
    kinds: dict[str, float]


SHARES = (
    ShotShare(0, 8, 0.01, {"dust": 0.006, "scratch": 0.004}),
    ShotShare(1, 3, 0.0, {}),
)


def write_film(path: Path, pix_fmt: str = "yuv420p") -> Path:
    """Two shots of 8 and 3 frames, two of the frames repeats."""
    numbers = [0, 1, 2, 3, 4, 4, 6, 7, 7, 9, 10]
    frames = [picture(pix_fmt, *SIZE, number) for number in numbers]
    # The second shot is another picture altogether.
    planes: list[Any] = [plane for frame in frames[9:] for plane in frame.planes]
    for plane in planes:
        view = np.frombuffer(plane, np.uint8)
        view[:] = np.ascontiguousarray(view[::-1])
    frames[8] = picture(pix_fmt, *SIZE, 7)
    write_clip(path, frames=frames, pix_fmt=pix_fmt)
    return path


def decoded(path: Path) -> tuple[Clip, list[Frame]]:
    """The facts of a film, and its frames with their repeats; the second shot starts at 9."""
    with open_source(path) as source:
        frames = [item for item in source.read() if isinstance(item, Frame)]
        marked = number_shots(mark_repeats(frames))
        return source.clip, [replace(frame, shot=int(frame.number >= 9)) for frame in marked]


def profilers() -> Profilers:
    return Profilers(
        Profiler(measure_span, combine), Profiler(measure_spectrum, combine_spectra), None
    )


def spans_of(frames: list[Frame]) -> list[Span]:
    """Of four distinct frames each."""
    return list(cut_spans(frames, Grid(core=4), profilers))


def analyze(path: Path) -> Analysis:
    """What a run over the film would gather."""
    clip, frames = decoded(path)
    builder = AnalysisBuilder()
    for frame in builder.listen(frames):
        builder.add_light(frame.number, 1.0 + frame.number / 300.0)
    for span in spans_of(frames):
        builder.add_span(span)
    builder.add_defects(reversed(DEFECTS))
    builder.add_gap(6, 2)
    return builder.build(clip, engine=ENGINE, settings=SETTINGS, shares=SHARES)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_film(tmp_path_factory.mktemp("film") / "reel é.mkv")


@pytest.fixture(scope="module")
def analysis(film: Path) -> Analysis:
    return analyze(film)


@pytest.fixture
def clip(film: Path) -> Clip:
    return decoded(film)[0]


@pytest.fixture
def fields(analysis: Analysis) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(analysis.to_json())
    return found


def test_an_analysis_holds_what_was_found(analysis: Analysis) -> None:
    source = analysis.source
    assert (source.name, source.width, source.height) == ("reel é.mkv", *SIZE)
    assert (source.frames, source.first_pts, source.pixel_format) == (FRAMES, 0, "yuv420p")
    assert source.time_base * (source.last_pts - source.first_pts) == Fraction(FRAMES - 1, 25)
    assert analysis.repeats == REPEATS
    assert [(shot.first, shot.last) for shot in analysis.shots] == [(0, 8), (9, 10)]
    # Spans of four distinct frames: a repeat goes with the frame before.
    assert [(span.first, span.last) for span in analysis.spans] == [(0, 3), (4, 8), (9, 10)]
    assert [(defect.frame, defect.kind) for defect in analysis.defects] == [
        (3, "dust"),
        (3, "dust"),
        (3, "scratch"),
        (7, "dropout"),
    ]
    assert all(defect.keep for defect in analysis.defects)
    assert analysis.flicker is not None
    assert len(analysis.flicker) == FRAMES
    assert analysis.figures.touched == pytest.approx(0.01 * 8 / 11)
    assert analysis.figures.kinds == pytest.approx({"dust": 0.048 / 11, "scratch": 0.032 / 11})


def test_what_is_written_comes_back_bit_for_bit(analysis: Analysis, tmp_path: Path) -> None:
    path = tmp_path / "reel.vr.json"
    write_analysis(analysis, path)
    back = read_analysis(path)
    assert back.to_json() == analysis.to_json()
    for own, other in zip(analysis.spans, back.spans, strict=True):
        np.testing.assert_array_equal(own.noise.array(), other.noise.array())
        assert own.spectrum is not None
        assert other.spectrum is not None
        for name in ("luma", "chroma", "follows"):
            np.testing.assert_array_equal(
                getattr(own.spectrum, name), getattr(other.spectrum, name)
            )
    for name in ("source", "engine", "settings", "shots", "defects", "flicker", "figures", "gaps"):
        assert getattr(back, name) == getattr(analysis, name), name
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_every_float32_survives(analysis: Analysis, tmp_path: Path) -> None:
    """Random bits, the smallest and the largest among them."""
    rng = np.random.default_rng(13)
    bits = rng.integers(1, 0x3F800000, (200, 34), dtype=np.uint32)
    bits[0, :2] = 1, 0x3F800000
    curves = bits.view(np.float32)
    span = analysis.spans[0]
    spans = tuple(
        replace(
            span,
            number=number,
            first=number,
            last=number,
            noise=NoiseProfile(curve[:17], curve[17:]),
        )
        for number, curve in enumerate(curves)
    )
    source = replace(analysis.source, frames=200, marks=("0" * 16,) * 8)
    shots = (replace(analysis.shots[0], first=0, last=199),)
    path = tmp_path / "reel.vr.json"
    write_analysis(replace(analysis, source=source, shots=shots, spans=spans), path)
    back = read_analysis(path)
    found = np.concatenate([span.noise.array().reshape(1, 34) for span in back.spans])
    np.testing.assert_array_equal(found, curves)


def test_a_defect_a_shot_and_a_curve_take_a_line_each(analysis: Analysis) -> None:
    lines = analysis.to_json().splitlines()
    defects = [line.strip() for line in lines if '"confidence"' in line]
    assert defects[0] == (
        '{"frame": 3, "kind": "dust", "box": [4, 8, 14, 18], "confidence": 0.913, "keep": true},'
    )
    assert len(defects) == len(DEFECTS)
    assert '    {"number": 0, "first": 0, "last": 8},' in lines
    assert sum(line.strip().startswith('"luma": [') for line in lines) == len(analysis.spans)


def test_a_film_of_one_sample_and_nothing_found(tmp_path: Path) -> None:
    small = PixelFormat("gray", "gray", 8)
    frame = Frame(
        (np.zeros((1, 1), np.uint8),), Picture(1, 1, small), 0, -7, Fraction(1, 25), shot=0
    )
    builder = AnalysisBuilder()
    builder.add_frame(frame)
    known = Profiler(
        lambda _core: None, lambda _own, _before: NoiseProfile(*np.zeros((2, 17), "f4"))
    )
    for span in cut_spans([frame], Grid(), lambda: Profilers(known)):
        builder.add_span(span)
    clip = replace(decoded(write_film(tmp_path / "a.mkv"))[0], picture=frame.picture)
    path = tmp_path / "a.vr.json"
    write_analysis(builder.build(clip, engine={"weights": ""}, settings={}), path)
    back = read_analysis(path)
    assert (back.defects, back.flicker, back.repeats, back.spans[0].spectrum) == (
        (),
        None,
        (),
        None,
    )
    assert back.source.first_pts == back.source.last_pts == -7


def test_lost_broken_and_copied_frames_are_listed(film: Path) -> None:
    clip, frames = decoded(film)
    holes = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
    frames[0] = replace(frames[0], lost=True)
    frames[2] = replace(frames[2], copy=True)
    frames[6] = replace(frames[6], holes=holes)
    builder = AnalysisBuilder()
    for frame in frames:
        builder.add_frame(frame)
    for span in spans_of(frames):
        builder.add_span(span)
    found = builder.build(
        clip, engine=ENGINE, settings=SETTINGS, interlace=InterlaceFacts(flagged=True)
    )
    assert (found.lost, found.copies, found.rebuilt) == ((0,), (2,), (6,))
    # The lost frame before the first sound one goes with its span.
    assert (found.spans[0].first, found.spans[-1].last) == (0, FRAMES - 1)
    assert found.interlace == InterlaceFacts(flagged=True, combed=False)


def test_of_two_equal_places_the_surer_one_is_listed(clip: Clip, film: Path) -> None:
    builder = AnalysisBuilder()
    builder.add_defects([DEFECTS[0], replace(DEFECTS[0], confidence=0.95)])
    for frame in decoded(film)[1]:
        builder.add_frame(frame)
    found = builder.build(clip, engine=ENGINE, settings=SETTINGS)
    assert [round(defect.confidence, 3) for defect in found.defects] == [0.95]
    json.dumps(found.defects[0].confidence)


# What the reader refuses: of the schema first, then of what a schema cannot say.

Edit = Callable[[dict[str, Any]], Any]


def put(*path: Any, to: Any) -> Edit:
    """Set an entry."""

    def edit(fields: dict[str, Any]) -> None:
        place: Any = fields
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return edit


def drop(*path: Any) -> Edit:
    """Take an entry out."""

    def edit(fields: dict[str, Any]) -> None:
        place: Any = fields
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]

    return edit


def twin(fields: dict[str, Any]) -> None:
    fields["defects"].append(copy.deepcopy(fields["defects"][1]))


AGAINST_SCHEMA: list[tuple[Edit, str]] = [
    (drop("gaps"), "the top level lacks gaps"),
    (put("shotz", to=[]), "the top level has shotz, which nobody knows there"),
    (put("tool", to=3), "tool is 3, and has to be text such as"),
    (put("source", to=[]), "source is a list of 0, and has to be an object"),
    (put("source", "width", to=0), "source.width is 0, and has to be a whole number, 1 or more"),
    (put("source", "frames", to=11.5), "source.frames is 11.5, and has to be a whole number"),
    (put("source", "time_base", to="1/0"), 'source.time_base is "1/0", and has to be a fraction'),
    (put("source", "fingerprint", to="xyz"), 'source.fingerprint is "xyz", and has to be 64'),
    (drop("engine", "weights"), "engine lacks weights"),
    (put("engine", "weights", to="fast"), 'engine.weights is "fast", and has to be 64'),
    (put("settings", "damage", "kinds", to={}), "settings.damage.kinds is an object, and has to"),
    (put("settings", "denoise", 1, to={}), "settings.denoise[1] is an object, and has to be"),
    (put("interlace", "combed", to=0), "interlace.combed is 0, and has to be true or false"),
    (put("shots", to=[]), "shots is a list of 0, and has to be a list of shots"),
    (put("shots", 0, "first", to=-1), r"shots[0].first is -1, and has to be a whole number, 0"),
    (put("spans", 1, "noise", "luma", to=[1.0] * 16), "spans[1].noise.luma is a list of 16, and"),
    (put("spans", 1, "noise", "luma", 3, to=-0.1), "spans[1].noise.luma[3] is -0.1, and has to be"),
    (put("spans", 1, "noise", "chroma", 3, to="2"), 'spans[1].noise.chroma[3] is "2", and has to'),
    (put("spans", 0, "spectrum", "luma", "power", 2, to=[1] * 8), "luma.power[2] is a list of 8"),
    (put("spans", 0, "spectrum", "chroma", "follows_luma", 1, to=1.1), "follows_luma[1] is 1.1"),
    (put("spans", 0, "parity", to=2), "spans[0].parity is 2, and has to be null, 0 or 1"),
    (put("spans", 0, "spectrum", to=1), "spans[0].spectrum is 1, and has to be an object of luma"),
    (put("defects", 2, "keep", to="no"), 'defects[2].keep is "no", and has to be true or false'),
    (put("defects", 2, "keep", to=0), "defects[2].keep is 0, and has to be true or false"),
    (put("defects", 2, "Keep", to=False), "defects[2] has Keep, which nobody knows there"),
    (drop("defects", 2, "keep"), "defects[2] lacks keep"),
    (put("defects", 2, "kind", to="hair"), 'kind is "hair", and has to be one of dust, scratch'),
    (put("defects", 2, "confidence", to=1.01), "defects[2].confidence is 1.01, and has to be"),
    (put("defects", 2, "box", to=[1, 2, 3]), "defects[2].box is a list of 3, and has to be"),
    (put("defects", 2, "box", 0, to=True), "defects[2].box[0] is true, and has to be"),
    (put("flicker", 4, "gain", to=0), "flicker[4].gain is 0, and has to be a number above 0"),
    (put("flicker", to=False), "flicker is false, and has to be a list of gains, or null"),
    (put("repeats", 0, to=0), "repeats[0] is 0, and has to be a whole number, 1 or more"),
    (put("gaps", 0, "frames", to=0), "gaps[0].frames is 0"),
    (put("figures", "kinds", "hair", to=0.1), "figures.kinds has hair, which nobody knows there"),
    (put("figures", "shots", 0, "touched", to=2), "figures.shots[0].touched is 2"),
]

AGAINST_SENSE: list[tuple[Edit, str]] = [
    (put("source", "last_pts", to=-1), "source.last_pts is -1, before first_pts 0"),
    (put("source", "marks", to=["0" * 16]), "source.marks has 1 entries, and 11 frames make 4"),
    (put("shots", 1, "first", to=8), "shots[1].first is 8, and has to be 9"),
    (put("shots", 0, "last", to=7), "shots[1].first is 9, and has to be 8"),
    (put("shots", 0, "first", to=1), "shots[0].first is 1, and has to be 0"),
    (put("shots", 1, "last", to=9), "shots[1].last is 9, and has to be 10, the film's last frame"),
    (put("shots", 1, "last", to=11), "shots[1].last is 11, and has to be from 9 to 10"),
    (put("shots", 1, "number", to=0), "shots[1].number is 0, as that of an earlier shot"),
    (
        put(
            "shots",
            to=[
                {"number": 0, "first": 0, "last": 4},
                {"number": 1, "first": 5, "last": 10},
            ],
        ),
        "shots[1].first is 5, which repeats the frame before",
    ),
    (put("spans", 1, "first", to=3), "spans[1].first is 3, and has to be 4"),
    (put("spans", 1, "parity", to=1), "the parity of all spans has to be null, or that of some"),
    (drop("spans", 2), "spans[1].last is 8, and has to be 10, the film's last frame"),
    (put("spans", 1, "number", to=2), "spans[1].number is 2, and has to be 1"),
    (
        put("spans", 1, "spectrum", "luma", "power", to=[[0] * 9] * 9),
        "spans[1].spectrum.luma.power is 0 everywhere",
    ),
    (put("defects", 1, "frame", to=11), "defects[1].frame is 11, and the film's last is 10"),
    (put("defects", 1, "box", to=[4, 8, 49, 18]), "defects[1].box is [4, 8, 49, 18], and has to"),
    (put("defects", 1, "box", to=[4, 8, 14, 65]), "within 48 rows and 64 columns"),
    (put("defects", 1, "box", to=[4, 8, 4, 18]), "defects[1].box is [4, 8, 4, 18]"),
    (put("defects", 1, "box", to=[4, 18, 14, 8]), "defects[1].box is [4, 18, 14, 8]"),
    (twin, "defects[4] stands at defects[1] already"),
    (put("flicker", 4, "frame", to=3), "flicker[4].frame is 3, and has to be from 4 to 10"),
    (put("repeats", to=[8, 5]), "repeats[1] is 5, and has to be from 9 to 10"),
    (put("lost", to=[11]), "lost[0] is 11, and has to be from 0 to 10"),
    (put("gaps", 0, "after_frame", to=99), "gaps[0].after_frame is 99, and has to be from 0"),
]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("edit", "message"), [*AGAINST_SCHEMA, *AGAINST_SENSE])
def test_nonsense_is_refused_in_one_sentence(
    edit: Edit, message: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    edit(fields)
    path = written(tmp_path / "reel.vr.json", json.dumps(fields))
    with pytest.raises(InputError) as caught:
        read_analysis(path)
    text = str(caught.value)
    assert message in text
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is no analysis, which starts with {"),
        ("[]", "it is no analysis, which starts with {"),
        ('{"a": 1,\n "b": }', "it is no JSON: Expecting value in line 2, column 7"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": 1e999}', "the number 1e999 is too large"),
        ('{"a": ' + "[" * 100_000, "it is no JSON: "),
        ('{"a": ' + "1" * 5000 + "}", "it is no JSON: "),
        ("{}", "it is no analysis: it lacks vidrepair_analysis"),
        ('{"vidrepair_analysis": 2}', "of version 2, and this vidrepair reads 1"),
        ('{"vidrepair_analysis": true}', "of version true, and this vidrepair reads 1"),
        (
            '{"frame": 3, "keep": true, "keep": false}',
            'the object that begins with "frame": 3 has keep twice',
        ),
    ],
)
def test_what_is_no_analysis_is_refused_in_one_sentence(
    text: str, message: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "reel.vr.json", text)
    with pytest.raises(InputError) as caught:
        read_analysis(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_film_given_for_an_analysis_is_refused(film: Path, tmp_path: Path) -> None:
    for path in (film, tmp_path / "missing.json", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_analysis(path)
    path = tmp_path / "latin.json"
    path.write_bytes(b'{"tool": "\xe9"}')
    with pytest.raises(InputError, match="it is no JSON"):
        read_analysis(path)


def test_what_an_editor_may_leave_is_read(fields: dict[str, Any], tmp_path: Path) -> None:
    """A byte order mark, other line ends, another layout, 3.0 for 3."""
    fields["defects"][0]["frame"] = 3.0
    fields["spans"][0]["noise"]["luma"][0] = 2
    text = json.dumps(fields, indent=1).replace("\n", "\r\n")
    path = tmp_path / "reel.vr.json"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    back = read_analysis(path)
    assert isinstance(back.defects[0].frame, int)
    assert back.spans[0].noise.luma[0] == np.float32(2 / 255)


# The schema and the reader.


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas in a schema, those behind $ref once."""
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    inner += [schema[name] for name in ("items", "additionalProperties") if schema.get(name)]
    for part in inner:
        yield from parts(part)


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    text = (root / "vidrepair" / "sidecar.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_schema_says_nothing_that_the_reader_passes_over(schema: dict[str, Any]) -> None:
    words = {"title", "description", "type", "items", "properties", "required"}
    words |= {"additionalProperties", "$ref", *sidecar_schema.LIMITS}
    assert schema.keys() - words == {"$schema", "$id", "$defs"}
    for part in parts({**schema, "$schema": "", "$id": ""}):
        assert part.keys() <= words | {"$schema", "$id", "$defs"}, part
        if "$ref" in part:
            assert part.keys() <= {"$ref", "description"}, "the reader lets nothing be redefined"
            continue
        assert part["title"]
        types = part["type"] if isinstance(part["type"], list) else [part["type"]]
        if "object" in types:
            assert {"properties", "required", "additionalProperties"} <= part.keys(), part
        assert ("items" in part) == ("array" in types), part
        if part.keys() & sidecar_schema.LIMITS.keys() - {"enum"}:
            assert len(types) == 1, "a limit would meet a value of another type"


def test_the_schema_tells_shape_and_the_rest_is_sense(fields: dict[str, Any]) -> None:
    """What the schema alone says of each piece of nonsense above, and of good files."""
    good = copy.deepcopy(fields)
    assert sidecar_schema.rules().checked(good, "") == fields
    assert sidecar_schema.rules().checked({**good, "flicker": None, "defects": []}, "")
    for edit, _ in AGAINST_SENSE:
        edited = copy.deepcopy(fields)
        edit(edited)
        assert sidecar_schema.rules().checked(edited, "")
    for edit, message in AGAINST_SCHEMA:
        edited = copy.deepcopy(fields)
        edit(edited)
        with pytest.raises(sidecar_schema.Nonsense) as caught:
            sidecar_schema.rules().checked(edited, "")
        assert message in str(caught.value)


def test_the_schema_knows_all_kinds_of_damage(schema: dict[str, Any]) -> None:
    kind = schema["properties"]["defects"]["items"]["properties"]["kind"]
    assert {*KINDS, "broken", "masked"} == set(kind["enum"])
    assert set(kind["enum"]) | {"rebuilt"} == schema["$defs"]["kinds"]["properties"].keys()


# What a run follows.


def test_a_guide_answers_as_the_run_did_that_wrote_it(
    film: Path, analysis: Analysis, tmp_path: Path
) -> None:
    path = tmp_path / "reel.vr.json"
    write_analysis(analysis, path)
    clip, frames = decoded(film)
    guide = Guide(read_analysis(path), str(path), clip)
    assert [frame.shot for frame in guide.number_shots(frames)] == [0] * 9 + [1] * 2
    guide.finish()
    assert guide.has_spectra
    assert [n for n in range(FRAMES) if guide.starts_shot(n)] == [0, 9]
    for span in spans_of(frames):
        first = span.core[0].number
        np.testing.assert_array_equal(guide.noise_of(first).array(), span.noise.array())
        spectrum = guide.spectrum_of(first)
        assert isinstance(spectrum, GrainSpectrum)
        assert span.spectrum is not None
        np.testing.assert_array_equal(spectrum.luma, span.spectrum.luma)
    assert all(guide.allows(defect) for defect in DEFECTS)


def test_a_span_that_an_edited_shot_moved_takes_the_noise_of_where_it_starts(
    film: Path, clip: Clip, fields: dict[str, Any], tmp_path: Path
) -> None:
    fields["shots"] = [
        {"number": 0, "first": 0, "last": 5},
        {"number": 7, "first": 6, "last": 10},
    ]
    edited = read_analysis(written(tmp_path / "reel.vr.json", json.dumps(fields)))
    guide = Guide(edited, "reel.vr.json", clip)
    assert [n for n in range(FRAMES) if guide.starts_shot(n)] == [0, 6]
    assert guide.noise_of(6) is edited.spans[1].noise
    assert guide.noise_of(10) is edited.spans[2].noise
    frames = list(guide.number_shots(decoded(film)[1]))
    assert [frame.shot for frame in frames] == [0] * 6 + [1] * 5


def test_only_what_is_listed_and_kept_is_repaired(
    clip: Clip, fields: dict[str, Any], tmp_path: Path
) -> None:
    fields["defects"][1]["keep"] = False
    del fields["defects"][3]
    path = written(tmp_path / "reel.vr.json", json.dumps(fields))
    guide = Guide(read_analysis(path), str(path), clip)
    assert [guide.allows(defect) for defect in DEFECTS] == [True, False, True, False]
    # Of another kind, in another frame, elsewhere.
    assert not guide.kept(3, "dropout", (4, 8, 14, 18))
    assert not guide.kept(4, "dust", (4, 8, 14, 18))
    assert not guide.kept(3, "dust", (30, 40, 40, 50))
    # Moved by a third of its width it overlaps by half, by one more it does not.
    assert guide.kept(3, "dust", (4, 11, 14, 21))
    assert not guide.kept(3, "dust", (4, 12, 14, 22))
    # As large again is half, and a sample more is less.
    assert guide.kept(3, "dust", (4, 8, 14, 28))
    assert not guide.kept(3, "dust", (4, 8, 14, 29))


def test_the_closest_place_decides(clip: Clip, fields: dict[str, Any], tmp_path: Path) -> None:
    """Beside a place that stays lies one that is repaired, and overlaps it by more than half."""
    fields["defects"] = [
        {"frame": 3, "kind": "dust", "box": [4, 8, 14, 18], "confidence": 0.9, "keep": False},
        {"frame": 3, "kind": "dust", "box": [4, 10, 14, 20], "confidence": 0.9, "keep": True},
    ]
    path = written(tmp_path / "reel.vr.json", json.dumps(fields))
    guide = Guide(read_analysis(path), str(path), clip)
    assert not guide.kept(3, "dust", (4, 8, 14, 18))
    assert guide.kept(3, "dust", (4, 10, 14, 20))
    assert not guide.kept(3, "dust", (4, 9, 14, 19)), "as close to both: it stays"


def test_the_analysis_of_another_film_is_refused_before_its_first_frame(
    clip: Clip, analysis: Analysis
) -> None:
    assert analysis.mismatch(clip) is None
    wide = replace(clip, picture=replace(clip.picture, width=66))
    deep = replace(
        clip, picture=replace(clip.picture, format=PixelFormat("yuv420p10le", "yuv", 10, (2, 2)))
    )
    slow = replace(clip, time_base=Fraction(1, 90000))
    for other, message in (
        (wide, "its size is 64x48, not 66x48"),
        (deep, "its pixel format is yuv420p, not yuv420p10le"),
        (slow, "its time base is 1/1000, not 1/90000"),
    ):
        with pytest.raises(InputError) as caught:
            Guide(analysis, "reel.vr.json", other)
        assert message in str(caught.value)
        assert str(caught.value).startswith("reel.vr.json is the analysis of another film: ")


def test_the_analysis_of_another_film_of_its_size_is_found_out_early(
    film: Path, analysis: Analysis, tmp_path: Path
) -> None:
    clip, frames = decoded(film)
    other = decoded(Path(write_clip_of(tmp_path / "other.mkv")))[1]
    guide = Guide(analysis, "reel.vr.json", clip)
    with pytest.raises(InputError, match="it differs within the first 1 frames"):
        guide.see(other[0])
    # The first frames alike, as a title may be.
    guide = Guide(analysis, "reel.vr.json", clip)
    for frame in frames[:2]:
        guide.see(frame)
    guide.see(other[2])
    with pytest.raises(InputError, match="it differs within the first 4 frames"):
        guide.see(other[3])


def write_clip_of(path: Path) -> Path:
    write_clip(path, frames=[picture("yuv420p", *SIZE, 300 + n) for n in range(FRAMES)])
    return path


def test_a_film_that_is_longer_shorter_or_ends_otherwise_is_refused(
    film: Path, analysis: Analysis
) -> None:
    clip, frames = decoded(film)
    guide = Guide(analysis, "reel.vr.json", clip)
    for frame in frames:
        guide.see(frame)
    with pytest.raises(InputError, match="it ends after 11 frames, and this one does not"):
        guide.see(replace(frames[-1], number=FRAMES))
    guide = Guide(analysis, "reel.vr.json", clip)
    for frame in frames[:-1]:
        guide.see(frame)
    with pytest.raises(InputError, match="its number of frames is 11, not 10"):
        guide.finish()
    guide.see(frames[-2])
    with pytest.raises(InputError, match="its fingerprint is"):
        guide.finish()


def test_the_settings_of_a_run_go_there_and_back(clip: Clip, film: Path, tmp_path: Path) -> None:
    builder = AnalysisBuilder()
    for span in spans_of(list(builder.listen(decoded(film)[1]))):
        builder.add_span(span)
    settings = RepairSettings(denoise=(80.0, 50.0), bad_frames=(range(3, 6), range(7, 8))).as_dict()
    found = builder.build(clip, engine=ENGINE, settings=settings)
    path = tmp_path / "reel.vr.json"
    write_analysis(found, path)
    assert read_analysis(path).settings == json.loads(json.dumps(settings))
    assert found.differences(ENGINE, settings) == []


def test_what_was_asked_otherwise_is_told(analysis: Analysis) -> None:
    assert analysis.differences(ENGINE, SETTINGS) == []
    engine = {**ENGINE, "backend": "torch"}
    damage = {"kinds": ("dust",), "min_confidence": 0.75}
    settings = {**SETTINGS, "damage": damage, "deflicker": 100.0}
    assert analysis.differences(engine, settings) == [
        "backend was openvino and is torch",
        "damage.kinds was dust, scratch, dropout and is dust",
        "deflicker was none and is 100",
    ]


def test_interlaced_film_has_spans_for_each_field(film: Path, tmp_path: Path) -> None:
    clip, frames = decoded(film)
    builder = AnalysisBuilder()
    for frame in frames:
        builder.add_frame(frame)
    spans = spans_of(list(split_fields(frames)))
    for span in spans:
        builder.add_span(span)
    # A spot that both fields show: listed for the frame, in its rows.
    found = [Defect("dust", 6, (3, 8, 7, 18), 0.9), Defect("dust", 7, (3, 8, 7, 18), 0.8)]
    builder.add_defects([Defect("dust", 3, (6, 8, 14, 18), one.confidence) for one in found])
    path = tmp_path / "reel.vr.json"
    write_analysis(builder.build(clip, engine=ENGINE, settings=SETTINGS), path)
    guide = Guide(read_analysis(path), str(path), clip)
    assert {span.core[0].parity for span in spans} == {0, 1}
    for span in spans:
        own = guide.noise_of(span.core[0].number)
        np.testing.assert_array_equal(own.array(), span.noise.array())
    curves = [guide.noise_of(span.core[0].number).luma.tolist() for span in spans]
    assert len({tuple(curve) for curve in curves}) == len(spans), "no two are alike"
    assert all(guide.allows(defect) for defect in found)
    edited = path.read_text(encoding="utf-8").replace('"keep": true', '"keep": false')
    guide = Guide(read_analysis(written(path, edited)), str(path), clip)
    assert not any(guide.allows(defect) for defect in found)


def test_frames_made_anew_are_listed_as_such_alone(film: Path) -> None:
    builder = AnalysisBuilder()
    builder.add_defects([Defect("rebuilt", 2, (0, 0, 48, 64), 1.0)])
    clip, frames = decoded(film)
    for frame in frames:
        builder.add_frame(replace(frame, lost=frame.number == 2))
    found = builder.build(clip, engine=ENGINE, settings=SETTINGS)
    assert (found.defects, found.lost) == ((), (2,))


# The fingerprint.


def frame_of(samples: np.ndarray[Any, Any], pts: int = 0, *, rgb: bool = False) -> Frame:
    height, width = samples.shape
    bits = 8 * samples.itemsize
    form = PixelFormat("made", "rgb" if rgb else "gray", bits)
    planes = (samples, samples, samples) if rgb else (samples,)
    return Frame(planes, Picture(width, height, form), 0, pts, Fraction(1, 25))


def digest(*frames: Frame) -> str:
    found = Fingerprint()
    for frame in frames:
        found.add(frame)
    return found.hexdigest()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (48, 65), (720, 1280)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_fingerprint_sees_times_order_and_noise(size: tuple[int, int], kind: type) -> None:
    rng = np.random.default_rng(4)
    one: np.ndarray[Any, Any] = rng.integers(0, 250, size).astype(kind)
    two: np.ndarray[Any, Any] = (one + rng.integers(1, 3, size)).astype(kind)
    assert digest(frame_of(one)) == digest(frame_of(one.copy()))
    assert digest(frame_of(one)) != digest(frame_of(two))
    assert digest(frame_of(one)) != digest(frame_of(one, pts=1))
    assert digest(frame_of(one), frame_of(two)) != digest(frame_of(two), frame_of(one))
    assert digest(frame_of(one), frame_of(one)) != digest(frame_of(one))


def test_a_fingerprint_does_not_depend_on_how_samples_lie_in_memory() -> None:
    rng = np.random.default_rng(5)
    wide = rng.integers(0, 1023, (100, 256)).astype(np.uint16)
    assert digest(frame_of(wide[:, :200])) == digest(frame_of(wide[:, :200].copy()))
    assert digest(frame_of(wide)) == digest(frame_of(wide.astype(">u2")))
    assert digest(frame_of(wide)) == digest(frame_of(wide, rgb=True))


def test_marks_are_left_after_1_2_4_and_8_frames() -> None:
    found = Fingerprint()
    for pts in range(11):
        found.add(frame_of(np.full((3, 3), pts, np.uint8), pts))
        if pts == 7:
            eight = found.hexdigest()
    assert len(found.marks) == 4
    assert eight.startswith(found.marks[-1])


# Writing.


def test_an_existing_file_stays_unless_it_may_go(analysis: Analysis, tmp_path: Path) -> None:
    path = written(tmp_path / "reel.vr.json", "mine")
    for refuse in (check_writable, lambda path: write_analysis(analysis, path)):
        with pytest.raises(UsageError, match="exists; add -y to replace it"):
            refuse(path)
    assert path.read_text() == "mine"
    write_analysis(analysis, path, overwrite=True)
    assert read_analysis(path).to_json() == analysis.to_json()


def test_a_folder_that_is_missing_or_none_is_explained(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    written(tmp_path / "file", "")
    for name, said in (("missing", "does not exist; make it first"), ("file", "is no folder")):
        with pytest.raises(VidrepairError, match=said):
            write_analysis(analysis, tmp_path / name / "a.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_nothing_behind(analysis: Analysis, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(VidrepairError, match="no space is left"):
            write_analysis(analysis, tmp_path / "reel.vr.json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_twenty_thousand_defects_go_there_and_back(analysis: Analysis, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    places = rng.integers(0, 40, (20_000, 2))
    facts = analysis.defects[0]
    many = tuple(
        replace(facts, frame=number, box=(int(top), int(left), int(top) + 8, int(left) + 8))
        for number, (top, left) in enumerate(places)
    )
    last = len(many) - 1
    long = replace(
        analysis,
        source=replace(analysis.source, frames=len(many), marks=("0" * 16,) * 15),
        shots=(replace(analysis.shots[0], last=last),),
        spans=(replace(analysis.spans[0], last=last),),
        defects=many,
    )
    path = tmp_path / "reel.vr.json"
    write_analysis(long, path)
    assert read_analysis(path).defects == many
