"""Ten hours of film: memory stays flat, and the journal small."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from clips import moving, write_clip

from vidrepair.journal import folder_of, read_record

log = logging.getLogger(__name__)

SIZE = (32, 32)
LOOP = 300
"""Frames of the clip that the film repeats."""
FRAMES = int(os.environ.get("VIDREPAIR_LONG", "900000"))
"""Of the film: ten hours at 25 a second."""


def loop(clip: Path, film: Path, times: int) -> None:
    """A clip again and again, by packet copy."""
    with av.open(str(clip)) as source, av.open(str(film), "w") as target:
        video = source.streams.video[0]
        out = target.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.size]
        facts = [(bytes(one), one.pts, one.dts, one.is_keyframe) for one in packets]
        length = round(LOOP / 25 / video.time_base)
        for turn in range(times):
            for data, pts, dts, key in facts:
                packet = av.Packet(data)
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.time_base, packet.is_keyframe, packet.stream = video.time_base, key, out
                target.mux(packet)


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(
    "VIDREPAIR_SLOW" not in os.environ or not Path("/proc/self/statm").exists(),
    reason="takes an hour",
)
def test_memory_is_flat(tmp_path: Path) -> None:
    clip, film, out = tmp_path / "clip.mkv", tmp_path / "film.mkv", tmp_path / "out.mkv"
    frames = moving(*SIZE, LOOP, noise=6.0)
    options = {"preset": "ultrafast", "bf": "0"}  # of key frames FFmpeg's reader keeps a list
    write_clip(clip, frames=frames, size=SIZE, codec="libx264", options=options)
    loop(clip, film, FRAMES // LOOP)
    words = ["run", film, "-o", out, "--denoise", "0", "--repair", "none", "--progress", "none"]
    command = [sys.executable, "-m", "vidrepair", *map(str, words), "-c", "h264"]
    begun, held, first, journal, ended = time.monotonic(), [], None, 0, math.inf
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            path = folder_of(out) / "journal"
            if first is None and path.exists() and path.stat().st_size > 3000:
                first = time.monotonic() - begun
            journal = max(journal, path.stat().st_size if path.exists() else 0)
            now = time.monotonic() - begun
            held.append((now, resident(process.pid)))
            if ended == math.inf and read_record(folder_of(out)).ended is not None:
                ended = now
            time.sleep(0.5)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 0, told
    early = max(memory for seconds, memory in held if seconds <= 60.0)
    late = max(memory for seconds, memory in held if 60.0 < seconds <= ended)
    last = max(memory for seconds, memory in held if seconds >= ended)
    log.info("%s; first segment after %s s, journal %d bytes", told.strip(), first, journal)
    log.info("memory: %d bytes in the first minute, then %d, and %d to check", early, late, last)
    assert max(late, last) <= 1.1 * early
    with av.open(str(out)) as finished:
        video = finished.streams.video[0]
        assert sum(bool(packet.size) for packet in finished.demux(video)) == FRAMES // LOOP * LOOP
