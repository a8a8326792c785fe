"""The settings of a job; each checks itself and names the flag that is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from vidrepair.errors import UsageError, either

BACKENDS = ("auto", "openvino", "onnxruntime", "torch", "tensorrt", "rtx", "identity")
KINDS = ("dust", "scratch", "dropout")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
CHANNELS = ("luma", "alpha")
"""Of a mask."""
MOST_GROWN = 100
"""Samples on each side that a mask is widened by; more is another mask."""
MOST_NUMBER = 10**9
"""Of a picture; FFmpeg counts them in 31 bits."""
MOST_RATE = 1000
WHOLE = "a sidecar tells of the whole film"
CUT_OUT = "cut the part out first, as with ffmpeg -ss 60 -t 20 -i IN -c copy part.mkv"
"""What helps who wants one of a part."""
"""Frames a second."""
Overlay = Literal["red", "luma", "diff"]
OVERLAYS: tuple[Overlay, ...] = ("red", "luma", "diff")
Look = Literal["fidelity", "natural"]
Purpose = Literal["archive", "web", "edit"]
PURPOSES: tuple[Purpose, ...] = ("archive", "web", "edit")
LOOKS: tuple[Look, ...] = ("fidelity", "natural")
Interlace = Literal["auto", "fields", "bwdif", "bwdif-fields", "progressive"]
INTERLACE: tuple[Interlace, ...] = ("auto", "fields", "bwdif", "bwdif-fields", "progressive")
DEINTERLACED: tuple[Interlace, ...] = ("bwdif", "bwdif-fields")
"""Those that make a progressive film."""
MARKED = (".otio", ".edl")
"""Files of markers."""
LISTED = (".otio", ".edl", ".txt")
"""Files of cuts."""
LOSSES = (
    *("hdr10", "hdr10plus", "dovi", "captions", "sar", "rotation", "range", "matrix"),
    *("field-order", "colours", "alpha"),
    *("chroma-location", "display-offset", "timecode", "film-grain", "tags", "side-data"),
    *("times",),
    *("audio", "subtitles", "chapters", "attachments", "covers", "data"),
    *("marks", "titles", "languages", "layouts"),
)
"""What a target may not hold of its source."""
Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """Where a mask is, and which of its samples are meant."""

    path: Path
    """A video; a still picture, which holds for every frame; a folder of numbered pictures; or a
    pattern such as mask_%06d.png, counted from the first number that is there."""
    threshold: float = 0.5
    """A sample is marked where it lies above this share of the way from black to white, 0 up to
    below 1; with 0, wherever it is not black."""
    invert: bool = False
    """Mark the others: the infrared channel of a scanner is dark where there is dust."""
    grow: int = 0
    """Samples that are marked around those, on each side, after inverting."""
    channel: str = "luma"
    """Of CHANNELS: which plane of the mask counts."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a str is as good
        invert: Any = self.invert  # from Python anything may come
        grow: Any = self.grow
        if not 0.0 <= self.threshold < 1.0:
            raise UsageError(
                f"--mask-threshold {self.threshold:g} is out of range; use 0 up to below 1"
            )
        if not isinstance(invert, bool):
            raise UsageError(f"--mask-invert {invert!r} is neither true nor false; use one of them")
        if not isinstance(grow, int) or not 0 <= grow <= MOST_GROWN:
            raise UsageError(
                f"--mask-grow {grow} is out of range; use a whole number, 0 to {MOST_GROWN}"
            )
        if self.channel not in CHANNELS:
            known = " or ".join(CHANNELS)
            raise UsageError(f"--mask-channel {self.channel} is unknown; use {known}")


@dataclass(frozen=True, slots=True)
class DamageSettings:
    """Which damage is repaired."""

    kinds: tuple[str, ...] = KINDS
    """Of KINDS; none leaves all damage as it is."""
    min_confidence: float = 0.75
    """0 to 1; a defect that is less sure stays."""

    def __post_init__(self) -> None:
        kinds: Any = self.kinds  # from Python anything may come
        if isinstance(kinds, str):
            raise UsageError(f"kinds takes several of {', '.join(KINDS)}, such as ('dust',)")
        for kind in self.kinds:
            if kind not in KINDS:
                known = ", ".join(KINDS)
                raise UsageError(f"--repair {kind} is unknown; use all, none, or some of {known}")
        if not 0.0 <= self.min_confidence <= 1.0:
            raise UsageError(
                f"--min-confidence {self.min_confidence:g} is out of range; use 0 to 1"
            )

    def takes(self, kind: str, confidence: float) -> bool:
        """Whether a defect of this kind is repaired."""
        return kind in self.kinds and confidence >= self.min_confidence


@dataclass(frozen=True, slots=True)
class RepairSettings:
    """What is done to the picture."""

    denoise: Pair = (100.0, 100.0)
    """Share of the noise removed, luma and chroma, 0 to 100."""
    noise: Pair | None = None
    """Standard deviation on the 8-bit scale before clipping, luma and chroma; for R'G'B'
    sources the first is that of each sample. None: measured span by span."""
    noise_profile: Path | None = None
    """A grain profile instead: noise by level, and its spectrum, of the whole film."""
    damage: DamageSettings = field(default_factory=DamageSettings)
    grain: float = 0.0
    """Share of the measured grain that is made anew and added after denoising, 0 to 100."""
    deflicker: float = 0.0
    """Share of the flicker that is taken away, 0 to 100."""
    bad_frames: tuple[range, ...] = ()
    """Numbers of frames, counted from 0, that are made anew of their neighbours."""
    fill_gaps: bool = False
    """Make the frames that the times of the film lack, up to three in a row."""
    mask_in: MaskSettings | None = None
    """What is damage beside what is found."""
    protect: MaskSettings | None = None
    """What is never repaired."""
    max_change: float | None = None
    """Code values of the 8-bit scale that no sample is changed by more than."""
    interlace: Interlace = "auto"
    """Repair combed frames as two fields each, make them progressive with FFmpeg's bwdif, a frame
    of each frame or of each field, or take them for whole; auto looks, and takes fields."""

    def __post_init__(self) -> None:
        _check_pair("--denoise", self.denoise, 100.0)
        if self.noise is not None:
            _check_pair("--noise", self.noise, 255.0)
            if self.noise_profile is not None:
                raise UsageError("--noise and --noise-profile say the same; leave one out")
        if self.grain > 0.0 and not any(self.denoise):
            raise UsageError(
                "--grain puts back what --denoise takes away, and --denoise is 0; leave one out"
            )
        for flag, value in (("--grain", self.grain), ("--deflicker", self.deflicker)):
            if not 0.0 <= value <= 100.0:
                raise UsageError(f"{flag} {value:g} is out of range; use 0 to 100")
        self._check_interlace()
        if self.max_change is not None and not 0.0 <= self.max_change <= 255.0:
            raise UsageError(f"--max-change {self.max_change:g} is out of range; use 0 to 255")
        repairs = (("--bad-frames", bool(self.bad_frames)), ("--mask-in", bool(self.mask_in)))
        for flag, asked in repairs:
            if asked and not self.mends:
                raise UsageError(f"{flag} asks for a repair, and --repair is none; leave one out")

    def _check_interlace(self) -> None:
        if self.interlace not in INTERLACE:
            known = ", ".join(INTERLACE)
            raise UsageError(f"--interlace {self.interlace} is unknown; use {known}")
        masked = self.mask_in is not None or self.protect is not None
        if self.interlace == "bwdif-fields" and masked:
            raise UsageError(
                "a mask has one picture for each frame of the film, and --interlace bwdif-fields"
                " makes two; use --interlace bwdif"
            )

    @property
    def asks(self) -> bool:
        """Whether anything is to be done at all."""
        return any(self.denoise) or self.mends

    @property
    def mends(self) -> bool:
        """Whether damage is repaired."""
        return bool(self.damage.kinds)

    @property
    def alters(self) -> bool:
        """Whether the picture may come out otherwise than by being coded anew."""
        made = self.fill_gaps or self.interlace in DEINTERLACED
        return self.asks or made or self.deflicker > 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        for mask in ("mask_in", "protect"):
            if found[mask] is not None:
                found[mask]["path"] = _readable(found[mask]["path"])
        found["bad_frames"] = [[part.start, part.stop] for part in self.bad_frames]
        if self.noise_profile is not None:
            found["noise_profile"] = _readable(self.noise_profile)
        return found

    @property
    def makes_grain(self) -> bool:
        """Whether grain has to be made: for its own sake, or over what is filled in."""
        return self.grain > 0.0 or (self.mends and min(self.denoise) < 100.0)


def _check_kind(flag: str, path: Path, kinds: tuple[str, ...]) -> None:
    if path.suffix.lower() not in kinds:
        raise UsageError(f"{flag} {path} is no {either(kinds)} file; name it so")


def _readable(path: Path) -> str:
    """The name of a file; stray bytes become replacement marks."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check_pair(flag: str, pair: Any, most: float) -> None:
    """From Python anything may come, one number above all."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise UsageError(f"{flag} takes two numbers, luma and chroma, such as (70.0, 70.0)")
    for value in pair:
        if not 0.0 <= value <= most:
            raise UsageError(f"{flag} {value:g} is out of range; use 0 to {most:g}")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What computes it."""

    model: str = "auto"
    """A released name, or the path of a weights file; auto is `base` on a card, `fast` on a
    processor."""
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tile: int | Literal["auto"] = "auto"
    """Side of a tile in pixels, a multiple of 16; 0 never tiles."""
    threads: int = 0
    """CPU threads of the engine; 0 takes all."""
    memory: int | None = None
    """Megabytes the engine may use; None takes a fixed share of the machine's memory."""
    trust_engine: Path | None = None
    """Folder of a compiled engine outside the cache. Loading one runs code that is in it."""
    look: Look = "fidelity"
    """Which weights of a released model: nearest to the clean picture, or with more of the texture
    that strong noise hides."""

    def __post_init__(self) -> None:
        if self.look not in LOOKS:
            raise UsageError(f"--look {self.look} is unknown; use {' or '.join(LOOKS)}")
        if self.look != "fidelity" and self.trust_engine is not None:
            raise UsageError("--trust-engine brings its own weights; leave --look out")
        if self.backend not in BACKENDS:
            raise UsageError(f"--backend {self.backend} is unknown; use {', '.join(BACKENDS)}")
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"--precision {self.precision} is unknown; use {', '.join(PRECISIONS)}"
            )
        if self.tile != "auto" and (self.tile < 0 or self.tile % 16):
            raise UsageError(
                f"--tile {self.tile} is not a multiple of 16; use one, such as 256, 0 or auto"
            )
        if self.trust_engine is not None and self.backend not in ("auto", "tensorrt", "rtx"):
            raise UsageError(f"--trust-engine is not one of --backend {self.backend}; leave it out")
        if self.threads < 0:
            raise UsageError(f"--threads {self.threads} is negative; use 0 for all")
        if self.memory is not None and self.memory < 256:
            raise UsageError(f"--memory {self.memory} is too little; use at least 256 (megabytes)")

    def idle(self) -> EngineSettings:
        """The same for a run that changes nothing."""
        return replace(self, backend="identity", trust_engine=None)


@dataclass(frozen=True, slots=True)
class OutputSettings:
    """How the result is written. None means: as the source suggests."""

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    overwrite: bool = False
    frames: int | None = None
    """Stop the output after so many frames; they equal the full run's."""
    mask_out: Path | str | None = None
    """Where the matte goes: gray, at least 1 wherever repair changed a sample. An .mkv or .mov
    file, a folder of pictures, or a pattern such as matte_%06d.png."""
    overlay: Overlay | None = None
    """Show on the picture what was done: for review, not for keeping."""
    sidecar: Path | None = None
    """Where the analysis goes, a .json file."""
    markers: Path | None = None
    """Where shots and the worst damage go as markers for editors: an .otio file, an .edl file, or a
    .resolve.edl file."""
    writes: bool = True
    """Else only what is beside it is written, and no film."""
    encoder_options: tuple[tuple[str, str], ...] = ()
    """Names and values that are handed to the encoder as they are."""
    allow_loss: frozenset[str] = frozenset()
    """Of LOSSES: what may be lost where the target cannot hold it."""
    exact_time: bool = False
    """Refuse a target that would round the times of the picture."""
    start_number: int | None = None
    """The number in the name of the first picture, where numbered pictures are written; None takes
    that of the source, or 0."""
    journal: bool = True
    """Write a long film in segments, so that what is finished stays finished."""
    segment: int = 256
    """Frames after which a segment ends, at the next place where one may."""
    resume: bool = False
    """Go on with the unfinished job of that output."""
    allow_mixed: bool = False
    """Go on even where the version or the engine is another one than before."""
    purpose: Purpose | None = None
    """What the film is meant for: codec and quality that suit it."""

    def __post_init__(self) -> None:
        if self.purpose is not None and self.purpose not in PURPOSES:
            raise UsageError(f"--for {self.purpose} is unknown; use {', '.join(PURPOSES)}")
        if self.purpose is not None and self.codec is not None:
            raise UsageError(f"--for {self.purpose} chooses the codec; leave --codec out")
        self._check_encoder_options()
        self._check_losses()
        if self.segment < 1:
            raise UsageError(f"--segment-frames {self.segment} is too few; use 1 or more")
        if self.start_number is not None and not 0 <= self.start_number <= MOST_NUMBER:
            raise UsageError(
                f"--start-number {self.start_number} is out of range; use 0 to {MOST_NUMBER}"
            )
        if self.frames is not None and self.frames < 1:
            raise UsageError(f"--frames {self.frames} leaves nothing to write; use 1 or more")
        if self.overlay is not None and self.overlay not in OVERLAYS:
            raise UsageError(f"--overlay {self.overlay} is unknown; use {', '.join(OVERLAYS)}")
        if self.sidecar is not None:
            object.__setattr__(self, "sidecar", Path(self.sidecar))  # a str is as good
            _check_kind("the sidecar", self.sidecar, (".json",))
            if self.frames is not None:
                raise UsageError(f"{WHOLE}; leave out --frames or the sidecar, or {CUT_OUT}")
        if self.markers is not None:
            object.__setattr__(self, "markers", Path(self.markers))
            _check_kind("--markers", self.markers, MARKED)

    @property
    def analysed(self) -> bool:
        """Whether something tells of all that was found."""
        return self.sidecar is not None or self.markers is not None

    @property
    def told_places(self) -> bool:
        """Whether something tells, place by place, of what was repaired."""
        return self.mask_out is not None or self.analysed

    def _check_encoder_options(self) -> None:
        options: Any = self.encoder_options  # from Python anything may come
        for option in options:
            if not (isinstance(option, tuple) and len(option) == 2 and all(option)):
                raise UsageError(f"-x {option!r} is no KEY=VALUE; use such as -x tune=film")

    def _check_losses(self) -> None:
        losses: Any = self.allow_loss
        names = [losses] if isinstance(losses, str) else sorted(losses)
        for name in names:
            if name not in LOSSES:
                raise UsageError(f"--allow-loss {name} is unknown; use {', '.join(LOSSES)}")
        object.__setattr__(self, "allow_loss", frozenset(names))


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Which part of a source is repaired."""

    stream: int | None = None
    """The number of the video stream in the file; None takes the first that is no cover."""
    start: Fraction | None = None
    """The output starts with the first frame at or after this, in seconds from the first."""
    end: Fraction | None = None
    """It stops before the first frame at or after this, in seconds from the first."""
    rate: Fraction | None = None
    """Frames a second of a source that is numbered pictures; a film says its own."""

    def __post_init__(self) -> None:
        if self.stream is not None and self.stream < 0:
            raise UsageError(f"--video-stream {self.stream} is no stream; use 0 or more")
        if self.rate is not None and not 0 < self.rate <= MOST_RATE:
            raise UsageError(f"--rate {self.rate} is out of range; use above 0 to {MOST_RATE}")
        for flag, seconds in (("--ss", self.start), ("--to", self.end)):
            if seconds is not None and seconds < 0:
                raise UsageError(f"{flag} {float(seconds):g} is before the start; use 0 or more")
        if self.end is not None and self.end <= (self.start or 0):
            raise UsageError(
                f"--to {float(self.end):g} leaves nothing to write; use more than --ss"
            )


@dataclass(frozen=True, slots=True)
class Job:
    """One file to repair. A path of None is a y4m pipe: standard input or output."""

    source: Path | None
    output: Path | None
    repair: RepairSettings = field(default_factory=RepairSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    target: OutputSettings = field(default_factory=OutputSettings)
    analysis: Path | None = None
    """A sidecar that is followed: its shots, its noise, and of the damage what it keeps."""
    reading: SourceSettings = field(default_factory=SourceSettings)
    arguments: tuple[str, ...] = ()
    """The command line that asked for it, for `vidrepair resume`; none from Python."""
    workers: int = 1
    """Processes that share the segments of a long film; each has its part of the threads, and, of
    several devices, such as cuda:0,cuda:1, its own."""
    ray: str | None = None
    """The address of a Ray cluster whose workers share it instead; "local" is this machine."""
    shots: Path | None = None
    """A list that says where shots start, instead of looking: an .otio, .edl or .txt file."""
    trial: bool = False
    """A piece of a film is run to see what it takes: nothing is read after `reading.end`, and its
    spans are short enough to keep the whole engine busy."""

    def __post_init__(self) -> None:
        asked = self.reading
        if self.shots is not None:
            object.__setattr__(self, "shots", Path(self.shots))
            _check_kind("--shots", self.shots, LISTED)
            if self.analysis is not None:
                raise UsageError("--analysis says where shots start, too; leave --shots out")
        if self.workers < 1:
            raise UsageError(f"--workers {self.workers} is too few; use 1 or more")
        if self.ray is not None and "," in self.engine.device:
            raise UsageError("every worker of --ray has a card of its own; leave --device out")
        if self.workers == 1 and "," in self.engine.device:
            raise UsageError(
                f"--device {self.engine.device} names several; add --workers, or name one"
            )
        for flag, seconds in (("--ss", asked.start), ("--to", asked.end)):
            if seconds and (self.analysis or self.target.sidecar):
                raise UsageError(f"{WHOLE}; leave out {flag} or the sidecar, or {CUT_OUT}")
        if asked.start and (self.repair.mask_in or self.repair.protect):
            raise UsageError("a mask goes with the whole film; leave --ss out, or cut both first")
