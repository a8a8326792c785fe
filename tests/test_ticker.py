"""How far something is, by the clock."""

from __future__ import annotations

import pytest

from training.ticker import Ticker


def test_a_word_comes_by_the_clock_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("training.ticker.time.monotonic", lambda: now)
    told: list[str] = []
    ticker = Ticker(told.append, steps=30, done=2)
    for _ in range(10):
        now += 2.0
        ticker.step(lambda: "loss 0.5")
    assert told == ["step 10 of 30, loss 0.5, 2 s each, 0:00:40 left"]
    now += 3600.0
    ticker.leave_out(3600.0)
    for _ in range(18):
        now += 2.0
        ticker.step()
    assert told[1:] == [
        "step 18 of 30, 2 s each, 0:00:24 left",
        "step 26 of 30, 2 s each, 0:00:08 left",
        "step 30 of 30, 2 s each, 0:00:00 left",
    ]
