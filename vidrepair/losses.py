"""What a source carries and a target cannot hold: by name, before the first frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from vidrepair.carried import CAPTIONS, DOLBY_VISION, HDR10_PLUS, PROFILE, REEL, Carried
from vidrepair.codecs import CODECS, PICTURES, Codec, Told, obstacle
from vidrepair.dpx import is_timecode
from vidrepair.errors import CannotCarry, either
from vidrepair.hdr import LIGHT, MASTERING
from vidrepair.labels import STEREO_TAG, FileTags, file_tags, spoken, stream_tags, unsaid
from vidrepair.stills import Kept
from vidrepair.tags import UNSAID, Clip, kept_tags

# Frames carry these too, but they describe the source's coding, not its picture.
HARMLESS_SIDE_DATA = (
    *("DISPLAYMATRIX", "MOTION_VECTORS", "VIDEO_ENC_PARAMS", "REGIONS_OF_INTEREST"),
    *("SEI_UNREGISTERED", "GOP_TIMECODE", "PANSCAN", "QP_TABLE_DATA", "QP_TABLE_PROPERTIES"),
)
REFUSED = (
    *("hdr10", "hdr10plus", "dovi", "captions"),
    *("sar", "rotation", "range", "matrix", "field-order", "alpha"),
)
"""Without these the picture looks other than it did, or someone cannot follow it."""
MATROSKA_SITINGS = (1, 2, 3, 4)
"""Of FFmpeg's AVChromaLocation; Matroska knows no place below the upper row of two."""
ALPHA_BESIDE = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Codecs whose alpha Matroska and WebM hold as a second picture in each packet, and who decodes it:
FFmpeg's own decoders pass over it, and what they give is opaque."""
ALPHA_TAG = "alpha_mode"
STEREO = "STEREO3D"
"""Which picture is for which eye: Matroska says it by a tag of the film."""
AROUND = ("SPHERICAL",)
"""Without this, what is seen all around is shown as a flat picture."""
ARE = "are not carried"
HDR_TRANSFERS = (16, 18)
"""FFmpeg's numbers of PQ and HLG."""
TIMECODE = "S12M_TIMECODE"
PROFILED = ("png",)
"""Pictures that FFmpeg writes colour profiles into."""
WIDE = (9, 11, 12)
"""Of the primaries of BT.2020 and P3."""
DROPPING = (Fraction(30000, 1001), Fraction(60000, 1001))
"""Rates at which a timecode leaves out numbers."""
_TIMECODE = re.compile(r"\d\d:\d\d:\d\d([:;.])\d\d+")


@dataclass(frozen=True, slots=True)
class Loss:
    """One thing that will not be carried."""

    name: str
    """As `--allow-loss` takes it."""
    what: str
    """In words."""
    why: str = "is not carried"
    remedy: str = ""
    """What else to ask for; empty where nothing helps."""
    grave: bool = False
    """Nobody may meet it unasked, though others of its name may be met so."""
    differences: tuple[str, ...] = ()
    """Those that it makes, as `report.Difference` names them, where its name stands for more."""

    def __str__(self) -> str:
        return f"{self.what} {self.why}".rstrip()


def excused(losses: Iterable[Loss]) -> frozenset[str]:
    """What the check need not find, as `Expectation.lost` takes it."""
    return frozenset(one for loss in losses for one in loss.differences or (loss.name,))


def find_losses(
    clip: Clip, codec: str, container: str, carried: Carried, told: Told
) -> Iterator[Loss]:
    """Everything about the picture that `codec` in `container` does not keep."""
    yield from _side_data(clip, codec, carried, container, told)
    yield from _geometry(clip, codec, container, told)
    if told.fields and not CODECS[codec].interlaced:
        able = _able(clip, container, told, lambda one: one.interlaced)
        yield Loss(
            *("field-order", "that the film is interlaced", f"is not said by {codec}"),
            remedy=f"{able}, or --interlace bwdif" if able else "use --interlace bwdif",
        )
    yield from _siting(clip, codec, container, carried)
    if carried.film_grain:
        yield Loss(
            *("film-grain", "the recipe of the AV1 film's grain"),
            "is not carried: its grain is now part of the picture, and repaired as such",
        )
    bad = _bad_timecode(clip, container, carried)
    timed = carried.timecode and not bad
    if carried.reel and (container == "mp4" or (container == "mov" and not timed)):
        why = "MP4 has no place for it" if container == "mp4" else "MOV has it beside a timecode"
        yield Loss(
            *("tags", f"the reel name {carried.reel}", f"is not carried: {why}"),
            differences=("reel name", f"tag {REEL}"),
        )
    if bad:
        yield Loss(
            "timecode", f"the timecode {carried.timecode}", f"is none that {container} takes"
        )


def alpha_beside(clip: Clip) -> bool:
    """Whether the film has an alpha that is not among the samples of its frames."""
    tags = {key.lower(): value for key, value in clip.video_metadata}
    return clip.codec in ALPHA_BESIDE and tags.get(ALPHA_TAG) == "1"


def _alpha(clip: Clip) -> Iterator[Loss]:
    if alpha_beside(clip):
        yield Loss(
            *("alpha", f"the alpha of {clip.codec}, a second picture beside the first,"),
            remedy=f"decode it first: ffmpeg -c:v {ALPHA_BESIDE[clip.codec]}"
            " -i IN -c:v ffv1 -c:a copy OUT.mkv",
        )


def _able(clip: Clip, container: str, told: Told, able: Callable[[Codec], bool]) -> str:
    """What to ask for instead: the codecs of which that is true and which take the picture, in
    that container if one goes there; empty where none does.
    """
    names = [name for name in CODECS if name not in PICTURES and able(CODECS[name])]
    fit = [name for name in names if not obstacle(name, clip.picture, told)]
    here = [name for name in fit if container in CODECS[name].containers]
    if here:
        return f"use --codec {either(here)}"
    return f"use --codec {fit[0]} in {spoken(CODECS[fit[0]].containers[0])}" if fit else ""


def _side_data(
    clip: Clip, codec: str, carried: Carried, container: str = "", told: Told | None = None
) -> Iterator[Loss]:
    known = CODECS[codec]
    yield from _alpha(clip)
    found = {*clip.side_data, *carried.side_data}
    if found & {MASTERING, LIGHT} and carried.hdr is None:
        yield Loss("hdr10", "the HDR10 mastering display and light level", ARE)
    if HDR10_PLUS in found:
        yield Loss("hdr10plus", _spoken(HDR10_PLUS), ARE)
    if found & set(DOLBY_VISION):
        yield Loss("dovi", _spoken(DOLBY_VISION[0]), ARE)
    if CAPTIONS in found and not known.captions:
        remedy = _able(clip, container, told or Told(), lambda one: one.captions)
        yield Loss("captions", _spoken(CAPTIONS), ARE, remedy=remedy)
    named = {MASTERING, LIGHT, HDR10_PLUS, *DOLBY_VISION, CAPTIONS, *HARMLESS_SIDE_DATA}
    if clip.codec == "dpx":
        named.add(TIMECODE)  # it is told as the film's
    if codec in PROFILED:
        named.add(PROFILE)
    if container in ("matroska", "webm") and STEREO_TAG in stream_tags(
        container, dict(clip.video_metadata)
    ):
        named.add(STEREO)
    for name in sorted(found - named):
        grave = name in AROUND
        yield Loss("side-data", _spoken(name), "is not carried yet", grave=grave)


def _geometry(clip: Clip, codec: str, container: str, told: Told) -> Iterator[Loss]:
    if container in ("matroska", "webm") and not _pure(clip.display_matrix):
        yield Loss(
            *("rotation", f"the display matrix, {clip.rotation} degrees and more"),
            "is not carried: Matroska knows turns and mirrors alone",
            remedy="write an .mp4 or .mov file",
        )
    if container in ("matroska", "webm") and _moves(clip):
        yield Loss(
            *("display-offset", "the offset in the display matrix"),
            "is not carried: Matroska turns the picture in its place, as players do anyway",
        )
    full = clip.picture.full_range and clip.picture.format.family != "rgb"
    if full and not CODECS[codec].ranged:
        yield Loss(
            *("range", "that the samples have full range", f"is not said by {codec}"),
            remedy=_able(clip, container, told, lambda one: one.ranged),
        )

    if codec == "dnxhr" and clip.color_matrix == UNSAID and clip.picture.matrix != "bt709":
        yield Loss(
            *("matrix", "that the colours are BT.601, which the source leaves open,"),
            "is not said by dnxhr: players take BT.709",
            remedy=_able(clip, container, told, lambda one: one is not CODECS[codec]),
        )


def _moves(clip: Clip) -> bool:
    """Whether the display matrix moves the picture."""
    return any((clip.display_matrix or (0,) * 9)[6:8])


def _pure(matrix: tuple[int, ...] | None) -> bool:
    """Whether a display matrix turns and mirrors, and does no more than that."""
    if matrix is None:
        return True
    a, b, u, c, d, v, _, _, w = matrix
    one = 1 << 16
    # Rows of equal length at a right angle; fixed point leaves a few units. No perspective.
    return (
        abs(a * a + b * b - one * one) < one * 8
        and abs(abs(a * d - b * c) - one * one) < one * 8
        and (u, v, w) == (0, 0, 1 << 30)
    )


def _siting(clip: Clip, codec: str, container: str, carried: Carried) -> Iterator[Loss]:
    """Left is what everybody takes for granted."""
    sampling = clip.picture.format.sampling
    place = carried.siting(sampling)
    if place <= 1:
        return
    kept = CODECS[codec].sitings if sampling == (2, 2) else ()
    if (codec, container, sampling) == ("ffv1", "matroska", (2, 2)):
        kept = MATROSKA_SITINGS
    if place not in kept:
        names = ("left", "centre", "top left", "top", "bottom left", "bottom")
        yield Loss(
            "chroma-location",
            f"that the chroma samples lie at the {names[min(place, 6) - 1]}",
            f"is not carried by {codec} in {container}: players take left",
        )


def _bad_timecode(clip: Clip, container: str, carried: Carried) -> bool:
    """MOV and MP4 take it for the number of a frame, and refuse what cannot be one."""
    if not carried.timecode or container not in ("mp4", "mov"):
        return False
    read = _TIMECODE.fullmatch(carried.timecode)
    return read is None or (read[1] != ":" and clip.rate not in DROPPING)


def lost_labels(clip: Clip, container: str, tags: FileTags, film: dict[str, str]) -> Iterator[Loss]:
    """Tags of the file, and what is said of the film's own stream with the tags `film`."""
    # With all tags, FFmpeg's muxer would lose the cover; a picture is worth more than they are.
    why = "keeps it or the cover" if _covered(clip, container) else "does not keep it as it is"
    for key in tags.lost:
        yield Loss(
            *("tags", f"the tag {key}", f"is not carried: {spoken(container)} {why}"),
            differences=(f"tag {key.lower()}",),
        )
    lost = unsaid(container, clip.video, film)
    if lost is not None:
        yield from (Loss(name, lost.words, "") for name in sorted(lost.names))


def written_tags(clip: Clip, container: str) -> FileTags:
    """How the tags of the file are written."""
    tags = kept_tags(dict(clip.metadata))
    # Muxers make a track of it.
    named = tuple(pair for pair in tags.items() if pair[0].lower() != "timecode")
    return file_tags(container, named, cover=_covered(clip, container))


def _covered(clip: Clip, container: str) -> bool:
    return container == "mp4" and any(facts.kind == "cover" for facts in clip.others)


def lost_by_y4m(clip: Clip, carried: Carried) -> Iterator[Loss]:
    """y4m is the picture alone; who asks for it knows, so nothing of this is refused."""
    by = "is not carried by y4m"
    yield from _alpha(clip)
    if clip.sar not in (None, Fraction(1)):
        yield Loss("sar", f"the sample aspect ratio {clip.sar}", by)
    if clip.rotation or clip.display_matrix is not None:
        yield Loss("rotation", f"the rotation by {clip.rotation} degrees", by)
    tagged = (clip.color_matrix, clip.color_primaries, clip.color_transfer)
    if clip.picture.format.family == "yuv" and tagged != (UNSAID, UNSAID, UNSAID):
        why = "are not carried by y4m: give them to the next tool by hand"
        yield Loss("tags", "the colour tags", why)
    yield from _lost_times(clip, "y4m")
    for name in clip.side_data:
        if name not in HARMLESS_SIDE_DATA:
            kind = "captions" if name == CAPTIONS else "side-data"
            yield Loss(kind, _spoken(name), by)
    if carried.timecode:
        yield Loss("timecode", f"the timecode {carried.timecode}", by)
    if kept_tags(dict(clip.metadata)) and clip.container != "yuv4mpegpipe":
        yield Loss("tags", "the tags of the file", "are not carried by y4m")


def lost_by_pictures(clip: Clip, codec: str, kept: Kept, carried: Carried) -> Iterator[Loss]:
    """What numbered pictures do not hold, `kept` being what one of them does."""
    by, lost = f"is not carried by {codec}", kept.lost(clip)
    yield from _side_data(clip, codec, carried)
    if carried.hdr is not None:
        yield Loss("hdr10", "the HDR10 mastering display and light level", ARE)
    if "sar" in lost:
        yield Loss("sar", f"the sample aspect ratio {clip.sar}", by)
    if clip.rotation or clip.display_matrix is not None:
        yield Loss("rotation", f"the rotation by {clip.rotation} degrees", by)
    if _moves(clip):
        yield Loss("display-offset", "the offset in the display matrix", by)
    if "range" in lost:
        yield Loss("range", "that the samples have limited range", by)
    if clip.interlaced:
        yield Loss("field-order", "that the film is interlaced", by)
    if lost & {"primaries", "transfer"} and _is_coloured(clip):
        why = f"are not carried by {codec}: give them to the next tool by hand"
        grave = clip.color_transfer in HDR_TRANSFERS or clip.color_primaries in WIDE
        yield Loss("colours", "the colour tags", why, grave=grave)
    yield from _lost_times(clip, "a row of pictures")
    yield from _lost_names(clip, codec, carried)


def _lost_names(clip: Clip, codec: str, carried: Carried) -> Iterator[Loss]:
    """What is said beside a row of pictures, and not by each."""
    by = f"is not carried by {codec}"
    if carried.timecode and not (codec == "dpx" and is_timecode(carried.timecode)):
        yield Loss("timecode", f"the timecode {carried.timecode}", by)
    if carried.reel:
        yield Loss("tags", f"the reel name {carried.reel}", by)
    if kept_tags(dict(clip.metadata)) and clip.number is None:
        yield Loss("tags", "the tags of the file", f"are not carried by {codec}")


def _is_coloured(clip: Clip) -> bool:
    return (clip.color_primaries, clip.color_transfer) != (UNSAID, UNSAID)


def _lost_times(clip: Clip, target: str) -> Iterator[Loss]:
    """Of what has one rate and starts at 0."""
    if clip.video_start != 0 and not clip.cut:
        start = f"the start at {float(clip.video_start):.3f} s"
        yield Loss("times", start, f"is not carried: {target} starts at 0")
    if clip.rate is None:
        why = f"are not carried by {target}: 25 a second are written"
        yield Loss("times", "the times of the frames", why)


def _spoken(name: str) -> str:
    names = {
        MASTERING: "the HDR mastering display metadata",
        LIGHT: "the HDR content light level",
        HDR10_PLUS: "the HDR10+ metadata",
        **dict.fromkeys(DOLBY_VISION, "the Dolby Vision metadata"),
        CAPTIONS: "the closed captions (A53)",
    }
    return names.get(name, f"the side data {name}")


def accept(losses: list[Loss], allowed: frozenset[str], target: str) -> tuple[str, ...]:
    """The losses in words. Raises CannotCarry for those that nobody may meet unasked."""
    refused = [
        loss for loss in losses if (loss.grave or loss.name in REFUSED) and loss.name not in allowed
    ]
    if refused:
        names = ",".join(dict.fromkeys(loss.name for loss in refused))
        remedies = dict.fromkeys(loss.remedy for loss in refused if loss.remedy)
        raise CannotCarry(
            f"{target} cannot hold everything: {'; '.join(map(str, refused))};"
            f" {', or '.join((*remedies, f'accept that with --allow-loss {names}'))}"
        )
    return tuple(dict.fromkeys(map(str, losses)))
