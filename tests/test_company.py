"""What the company of the spots of a span tells of them."""

from __future__ import annotations

import pytest

from vidrepair.company import Odds


def told(near: int, beyond: int, spots: int) -> Odds:
    """After so many spots, so many of them in company, and beyond."""
    odds = Odds()
    odds.count([(at < near, at < beyond) for at in range(spots)], [])
    return odds


@pytest.mark.parametrize("near", [False, True])
def test_where_all_are_in_company_and_chance_puts_none_there_all_are_things(*, near: bool) -> None:
    assert told(20, 0, 20).is_thing(near=near)


@pytest.mark.parametrize("near", [False, True])
def test_where_chance_is_as_likely_none_is_a_thing(*, near: bool) -> None:
    assert not told(20, 18, 30).is_thing(near=near)


def test_what_is_alone_is_no_thing_where_chance_explains_half_of_the_company() -> None:
    """Thirteen of sixteen in company, but of those many by chance: others may be things."""
    odds = told(9, 7, 12)
    assert odds.near / odds.spots > 0.8
    assert not odds.is_thing(near=False)


@pytest.mark.parametrize(("dirt", "dirty"), [(0, False), (2, False), (10, False), (11, True)])
def test_a_film_is_dirty_that_has_more_dirt_than_frames(dirt: int, *, dirty: bool) -> None:
    assert Odds(frames=8, dirt=dirt).is_dirty == dirty
