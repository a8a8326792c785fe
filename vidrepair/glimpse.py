"""Single frames of a film, restored without the film: each with a private span of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vidrepair.batch import Grid, Profiler, Profilers
from vidrepair.broken import mark_broken
from vidrepair.carriers import plane_views
from vidrepair.compose import Strengths, compose
from vidrepair.decode import Source, open_film
from vidrepair.defects import find_defects
from vidrepair.engines import Build, Engine, Spare, make_engine, open_engine, repair
from vidrepair.errors import UsageError
from vidrepair.fields import apart, half_of, weave_fields
from vidrepair.flicker import deflicker
from vidrepair.frames import Answer, Frame, Plane, Span
from vidrepair.grain_table import read_profile
from vidrepair.matte import Touch, rebuilt_touch, touch_of
from vidrepair.noise import combine, known_profile, measure_span
from vidrepair.private_span import PrivateSpan, private_grid, private_spans
from vidrepair.rebuild import rebuild_lost
from vidrepair.repeats import mark_repeats
from vidrepair.scan import Place
from vidrepair.scratch_clearing import Clearing
from vidrepair.scratch_runs import judge as judge_lines
from vidrepair.scratches import measure_lines
from vidrepair.settings import EngineSettings, Interlace, Pair, RepairSettings
from vidrepair.shots import number_shots
from vidrepair.spectrum import combine as combine_spectra
from vidrepair.spectrum import measure_spectrum
from vidrepair.tags import Clip

Measurement = TypeVar("Measurement")

SLACK = 8
"""Frames that are read before the T frames of a private span: cuts are known from the fourth on."""
LEAD = Fraction(1, 100)
"""Seconds before those that are sought: nothing but the picture is read."""
USUAL_RATE = Fraction(25)
"""Frames a second of a film that does not say."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A film that is looked at here and there, and what is done to it."""

    path: Path
    clip: Clip
    """As it was opened; deinterlaced, where that is asked for."""
    way: Interlace
    """How its fields are repaired."""
    repair: RepairSettings
    strengths: tuple[Pair, ...]
    """Shares of the noise removed, of luma and of chroma, 0 to 100: each is shown."""
    engine: EngineSettings
    rate: Fraction | None = None
    """Frames a second of numbered pictures, as asked."""

    @property
    def fields(self) -> bool:
        """Whether the even and the odd rows are repaired apart."""
        return self.way == "fields"

    @property
    def asks(self) -> bool:
        """Whether anything is to be done at all."""
        return self.repair.mends or any(map(any, self.strengths))


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """One frame before and after."""

    place: Place
    frame: Frame
    """Decoded; deflickered where that is asked for, like all that follows. Its number is that of
    the film where that has a rate, else of no meaning."""
    decoded: tuple[Plane, ...]
    """Before any of that."""
    after: tuple[tuple[Plane, ...], ...]
    """Of each strength."""
    touch: Touch
    noise: Pair
    """Found, or given: mean deviation of luma and chroma on the 8-bit scale."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A place, its spans (two where fields are repaired apart), and their answers so far."""

    place: Place
    spans: tuple[PrivateSpan, ...]
    answers: list[Answer] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all answers are there."""
        ended = [answer for answer in self.answers if answer.step == answer.span.steps - 1]
        return len(ended) == len(self.spans)

    def owns(self, answer: Answer) -> bool:
        """Whether it is one of them."""
        return any(one.span.number == answer.span.number for one in self.spans)

    def take(self, answer: Answer) -> None:
        """Keep an answer if it is of use: those of the frame, and of the one after it.

        Its span is then one that begins there.
        """
        own = next(one for one in self.spans if one.span.number == answer.span.number)
        if answer.step < own.step:
            return
        span = own.span
        begun = replace(span, warm=own.step, followers=span.followers[own.step - span.warm :])
        self.answers.append(replace(answer, span=begun))

    def in_order(self) -> list[Answer]:
        """The answers by span and step."""
        return sorted(self.answers, key=lambda answer: (answer.span.number, answer.step))


class Glimpses:
    """Restores frames of one film, one after another, in one engine.

    `decoded` counts the frames that it read; `engine` says what computes, `model` by which weights.
    """

    def __init__(self, subject: Subject, owned: ExitStack, build: Build | None = None) -> None:
        """Open the engine, which `owned` closes. Raises EngineError, InputError and UsageError."""
        self._subject = subject
        self._grain = read_profile(subject.repair.noise_profile)
        picture = half_of(subject.clip.picture) if subject.fields else subject.clip.picture
        damage = subject.repair.mends
        settings = subject.engine if subject.asks else subject.engine.idle()
        files, engine = open_engine(picture, settings, damage=damage, build=build)
        owned.callback(engine.close)
        exact = EngineSettings(model=settings.model, device="cpu", precision="fp32")
        if engine.worked is None:
            exact = replace(settings, precision="fp32", backend=engine.identity.backend)
        self._spare = Spare(lambda: make_engine(files, picture, exact, damage=damage))
        owned.callback(self._spare.close)
        grid = Grid(files.card.warm_up, files.card.core_length(picture))
        self._grid = private_grid(grid, picture)
        self.engine: Engine = engine
        self.model = files.name
        self.decoded = 0
        self._measured: dict[Any, Any] = {}

    def restore(self, places: Sequence[Place]) -> Iterator[Glimpse]:
        """The frames at some places, in that order. Raises UsageError for one behind the end."""
        asked: list[_Asked] = []
        spare = None if self.engine.identity.precision == "fp32" else self._spare
        answers: Iterable[Answer] = repair(self._spans(places, asked), self.engine, spare)
        if self._subject.repair.mends:
            answers = find_defects(answers, self._subject.repair.damage)
        shown = 0
        for answer in answers:
            next(one for one in asked if one.owns(answer)).take(answer)
            while shown < len(asked) and asked[shown].complete:
                yield self._finished(asked[shown])
                asked[shown].answers.clear()
                shown += 1

    def _spans(self, places: Sequence[Place], asked: list[_Asked]) -> Iterator[Span]:
        """The private spans; each place is noted in `asked`. Those that the engine asks for next
        are read meanwhile, as many as it has lanes.
        """
        count, lanes = 0, self.engine.identity.lanes
        clear = Clearing.asked(self._subject.repair).clear
        with ThreadPoolExecutor(lanes, thread_name_prefix="decode") as readers:
            looks = deque(readers.submit(self._look, place) for place in places[:lanes])
            for number, place in enumerate(places):
                found, decoded = looks.popleft().result()
                if number + lanes < len(places):
                    looks.append(readers.submit(self._look, places[number + lanes]))
                self.decoded += decoded
                spans = tuple(
                    replace(one, span=replace(one.span, number=count + one.span.number))
                    for one in found
                )
                count += len(spans)
                spans = tuple(replace(one, span=clear(one.span)) for one in spans)
                asked.append(_Asked(place, spans))
                yield from (one.span for one in spans)

    def _look(self, place: Place) -> tuple[tuple[PrivateSpan, ...], int]:
        """Read what is around a place; how many frames that took. From any thread."""
        subject, clip = self._subject, self._subject.clip
        rate = clip.rate or USUAL_RATE
        start = place.seconds - (self._grid.core + SLACK) / rate
        with self._open(max(start, Fraction(0)), place) as source:
            source.deinterlace_as(subject.way)
            source.by_fields = subject.fields
            found = private_spans(
                self._marked(source),
                clip.zero + place.seconds,
                self._grid,
                self._profilers,
                opens_film=start <= 0,
                fields=subject.fields,
            )
        if not found:
            raise _beyond(clip, place)
        return found, source.decoded

    def _open(self, start: Fraction, place: Place) -> Source:
        subject, asked = self._subject, self._subject.repair
        measured = subject.asks and asked.noise is None and asked.noise_profile is None
        stream = subject.clip.video.index
        try:
            return open_film(
                subject.path,
                subject.rate,
                tell_quantiser=measured,
                stream=stream,
                start=start,
                lead=LEAD,
            )
        except UsageError as error:
            raise _beyond(subject.clip, place) from error

    def _marked(self, source: Source) -> Iterator[Frame]:
        """The frames as the spans of a run have them."""
        asked = self._subject.repair
        frames = self._numbered(source)
        if asked.mends:
            frames = mark_broken(frames)
        frames = number_shots(mark_repeats(frames))
        return deflicker(frames, asked.deflicker / 100.0)

    def _numbered(self, source: Source) -> Iterator[Frame]:
        """The decoded frames with the numbers that they have in the film: grain is made by them."""
        clip, first = self._subject.clip, None
        for item in source.read():
            if not isinstance(item, Frame):
                continue
            if first is None:
                passed = item.pts * item.time_base - clip.zero
                first = round(passed * clip.rate) if clip.rate else 0
            yield replace(item, number=first + item.number)

    def _profilers(self) -> Profilers:
        """How a span's noise, grain and scratches are known: as in a run."""
        asked, grain = self._subject.repair, self._grain
        noise, spectrum = Profiler(self._once(measure_span), combine), None
        if grain is not None:
            noise = Profiler(lambda _core: None, lambda _own, _before: grain.noise)
        elif asked.noise is not None:
            rgb = self._subject.clip.picture.format.family == "rgb"
            fixed = known_profile(*asked.noise, rgb=rgb)
            noise = Profiler(lambda _core: None, lambda _own, _before: fixed)
        if any(replace(asked, denoise=pair).makes_grain for pair in self._subject.strengths):
            spectrum = Profiler(self._once(measure_spectrum), combine_spectra)
            if grain is not None:
                spectrum = Profiler(lambda _core: None, lambda _own, _before: grain.spectrum)
        scratches = "scratch" in asked.damage.kinds
        lines = Profiler(self._once(measure_lines), judge_lines) if scratches else None
        return Profilers(noise, spectrum, lines)

    def _once(
        self, measure: Callable[[Sequence[Frame]], Measurement]
    ) -> Callable[[Sequence[Frame]], Measurement]:
        """Measures no span twice: frames of one shot may share theirs."""

        def measured(core: Sequence[Frame]) -> Measurement:
            key = (measure, core[0].pts, core[0].parity, len(core))
            if key not in self._measured:
                self._measured[key] = measure(core)
            known: Measurement = self._measured[key]
            return known

        return measured

    def _finished(self, asked: _Asked) -> Glimpse:
        """The frame in every strength."""
        answers = asked.in_order()
        touches = _touches(answers)
        number = asked.spans[0].frame.number
        number = number // 2 if self._subject.fields else number
        finished = [self._composed(answers, touches, pair) for pair in self._subject.strengths]
        pairs = [next(one for one in frames if one[0].number == number) for frames in finished]
        frame, touch = pairs[0]
        noise = answers[0].span.noise
        return Glimpse(
            place=asked.place,
            frame=frame,
            decoded=plane_views(frame.carrier, frame.picture.format),
            after=tuple(one.planes for one, _ in pairs),
            touch=touch,
            noise=(255.0 * float(noise.luma.mean()), 255.0 * float(noise.chroma.mean())),
        )

    def _composed(
        self, answers: Sequence[Answer], touches: Mapping[int, Touch], strength: Pair
    ) -> list[tuple[Frame, Touch]]:
        """The finished frames of one strength, and what was done to them."""
        asked = self._subject.repair
        frames = compose(answers, Strengths.asked(asked, strength))
        motions = {answer.frame.number: answer.repaired.motion for answer in answers}
        rebuild = partial(rebuild_lost, motion_of=motions.get)
        if not self._subject.fields:
            return [(frame, touches[frame.number]) for frame in rebuild(frames)]
        pairs = ((frame, touches[frame.number]) for frame in apart(frames, rebuild))
        return list(weave_fields(pairs, self._subject.clip.picture))


def _touches(answers: Iterable[Answer]) -> dict[int, Touch]:
    """What was done to each frame, by its number; what is passed over is touched as its frame."""
    found = {}
    for answer in answers:
        touch = touch_of(answer)
        followers = answer.span.followers[answer.step - answer.span.warm]
        for frame in (answer.frame, *followers):
            found[frame.number] = rebuilt_touch(frame) if frame.lost else touch
    return found


def _beyond(clip: Clip, place: Place) -> UsageError:
    lasts = "" if clip.duration is None else f", which lasts {clip.duration:.3f} s"
    return UsageError(
        f"--at {float(place.seconds):g} lies behind the last frame of {clip.name}{lasts}; choose"
        " less"
    )
