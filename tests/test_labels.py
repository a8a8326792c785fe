"""labels: what MP4, MOV and Matroska keep of languages, marks and tags, and what is named."""

from __future__ import annotations

import pytest

from vidrepair.labels import (
    APPLE,
    BIBLIOGRAPHIC,
    TWO_LETTERS,
    file_tags,
    language_for,
    meaning,
    of_stream,
    unsaid,
)
from vidrepair.tags import StreamFacts, kept_tags


def sound(language: str = "", title: str = "", marks: tuple[str, ...] = ()) -> StreamFacts:
    return StreamFacts(3, "audio", "aac", language, title, marks)


@pytest.mark.parametrize("container", ["mp4", "mov", "matroska", "webm"])
def test_languages_are_kept_under_one_of_their_codes(container: str) -> None:
    # MOV knows Norwegian, and not which of the two.
    lost = {
        code
        for code in (*BIBLIOGRAPHIC, *BIBLIOGRAPHIC.values(), *TWO_LETTERS, *APPLE.values())
        if unsaid(container, sound(code), {"language": code}) is not None
    }
    assert lost == ({"nb", "nn", "gl", "mao", "mri"} if container == "mov" else set())


def test_codes_are_those_that_each_muxer_knows() -> None:
    mov = {"ces": "ces", "fra": "fra", "ron": "ron", "slk": "slk", "swe": "sve", "deu": "ger"}
    mov |= {"cze": "ces", "fre": "fra", "hrv": "hr ", "srp": "sr ", "en": "eng", "en-US": "eng"}
    assert {code: language_for("mov", code) for code in mov} == mov
    assert language_for("mp4", "cze") == "cze"
    assert language_for("mp4", "de") == "deu"
    assert language_for("matroska", "en-US") == "en-US"
    # What FFmpeg reads of MOV is no code of ISO 639-2.
    assert language_for("matroska", "hr ") == "hrv"
    assert meaning("sve") == meaning("sv") == meaning("swe") == "swe"
    assert meaning("und") == ""


@pytest.mark.parametrize("code", ["zxx", "mul", "nob", "qaa", "en-US"])
def test_a_language_that_mov_drops_is_named(code: str) -> None:
    lost = unsaid("mov", sound(code), {"language": code})
    assert lost is not None
    assert lost.names == {"language of stream 3"}
    assert lost.words == f"audio stream 3 (aac, {code}): MOV does not keep the language {code}"


def test_marks_and_tags_that_are_not_kept_are_named() -> None:
    facts = sound("eng", "Main", ("default", "forced", "comment", "dub"))
    tags = {"language": "eng", "title": "Main", "NOTE": "x", "handler_name": "h", "BPS": "3"}
    lost = {container: unsaid(container, facts, tags) for container in ("mp4", "mov", "matroska")}
    assert lost["matroska"] is None
    assert lost["mp4"] is not None
    assert lost["mp4"].facts == ("tag note",)
    assert lost["mov"] is not None
    assert lost["mov"].facts == (
        *("disposition forced", "disposition comment", "disposition dub"),
        "tag note",
    )
    assert of_stream(3, "tag note") in lost["mov"].names
    assert lost["mov"].words.endswith("keep the marks forced, comment, dub and the tag NOTE")


def test_captions_are_known_to_webm_by_their_codec() -> None:
    facts = StreamFacts(1, "subtitle", "webvtt", disposition=("captions",))
    assert unsaid("webm", facts, {}) is None
    assert unsaid("mp4", facts, {}) is None
    assert unsaid("webm", sound(marks=("captions",)), {}) is not None


def test_a_cover_has_no_tags() -> None:
    cover = StreamFacts(4, "cover", "png", title="cover.png")
    assert unsaid("mp4", cover, {"filename": "cover.png", "mimetype": "image/png"}) is None
    lost = unsaid("matroska", cover, {"comment": "Cover (front)"})
    assert lost is not None
    assert lost.facts == ("tag comment",)


def test_all_tags_of_a_file_are_kept_where_no_cover_is_at_stake() -> None:
    plain = (("title", "T"), ("creation_time", "2020-01-02T03:04:05.000000Z"))
    own = (*plain, ("composer", "C"), ("director", "Y"))
    for container in ("mp4", "mov"):
        assert not file_tags(container, plain, cover=False).all
        assert file_tags(container, own, cover=False).all
        assert file_tags(container, own, cover=False).lost == ()
    assert file_tags("mp4", own, cover=True).lost == ("director",)
    assert file_tags("matroska", own, cover=True).lost == ()


def test_one_moment_is_one_text() -> None:
    """FFmpeg's muxers write UTC with six places."""
    for text in ("2020-01-02T03:04:05Z", "2020-01-02T04:04:05+01:00"):
        assert kept_tags({"creation_time": text}) == {
            "creation_time": "2020-01-02T03:04:05.000000Z"
        }
    early = kept_tags({"creation_time": "0904-01-02T03:04:05+01:00"})
    assert early == {"creation_time": "0904-01-02T02:04:05.000000Z"}
    for text in ("2020", "2020-01-02 03:04:05", "in May", "2020-W01-4T03:04:05Z"):
        assert kept_tags({"creation_time": text}) == {"creation_time": text}


def test_a_tag_that_is_written_otherwise_is_named() -> None:
    """MP4 has a place for it in the form of ISO 6709."""
    kept, other = (("location", "+48.8577+002.2950/"),), (("location", "+1+2/"),)
    assert file_tags("mp4", kept, cover=False).lost == ()
    assert file_tags("mp4", other, cover=False).lost == ("location",)
