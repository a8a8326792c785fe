"""What the elements of a Matroska file say of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidrepair.ebml import (
    CHAPTERS,
    FARTHEST,
    SEEK,
    SEEK_HEAD,
    SEEK_ID,
    SEEK_PLACE,
    SEGMENT,
    count_chapters,
    make_element,
    make_whole,
    stated_size,
)

HEAD = make_element(0x1A45DFA3, b"matroska")


@pytest.mark.parametrize(
    ("segment", "size"),
    [
        (make_element(SEGMENT, bytes(300), long=8), len(HEAD) + 4 + 8 + 300),
        (make_element(SEGMENT, bytes(5), long=1), len(HEAD) + 4 + 1 + 5),
        # Written to a pipe: nobody knew.
        (bytes.fromhex("1853806701ffffffffffffff") + bytes(300), None),
        (bytes.fromhex("18538067ff") + bytes(300), None),
        (make_element(0xEC, bytes(300)), None),
        (b"", None),
    ],
)
def test_the_size_of_a_file_by_its_own_word(
    tmp_path: Path, segment: bytes, size: int | None
) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(HEAD + segment)
    assert stated_size(path) == size


@pytest.mark.parametrize("place", [FARTHEST, (1 << 64) - 1])
def test_no_chapters_lie_where_no_file_reaches(tmp_path: Path, place: int) -> None:
    told = make_whole(SEEK_ID, CHAPTERS) + make_whole(SEEK_PLACE, place)
    path = tmp_path / "a.mkv"
    path.write_bytes(
        HEAD + make_element(SEGMENT, make_element(SEEK_HEAD, make_element(SEEK, told)))
    )
    assert count_chapters(path) == 0
