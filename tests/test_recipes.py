"""The blocks of docs/recipes.md, run as they stand on small films of the names that they use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from clips import read_frames, samples_of

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DAMAGED = "film_damaged.mkv"
CARD = "'cuda:$(({%} - 1))'"
SMALL = "scale=160:80"


def recipes(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Language and text of every block, by the heading above it."""
    text = (root / "docs/recipes.md").read_text(encoding="utf-8")
    titles = HEADING.split(text)[1:]
    found = {
        title: BLOCK.findall(body) for title, body in zip(titles[::2], titles[1::2], strict=True)
    }
    return {title: blocks for title, blocks in found.items() if blocks}


class Kitchen:
    """A folder in which recipes are run."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder, self._root = folder, root
        tool = folder / "bin" / "vidrepair"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vidrepair "$@"\n')
        tool.chmod(0o755)

    def run(self, command: Sequence[str], **more: str) -> str:
        """What a command prints; the tests end where it fails."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | {"PATH": path} | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def film(self, name: str, *options: str, frames: int = 8, size: str = SMALL) -> Path:
        """A piece of a sample, with sound, under a name."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        sound = ("-f", "lavfi", "-i", "sine=sample_rate=48000")
        source = str(self._root / "samples" / DAMAGED)
        coded = options or ("-c:v", "ffv1", "-c:a", "pcm_s16le")
        limits = ("-vf", size, "-frames:v", str(frames), "-shortest")
        self.run(["ffmpeg", "-v", "error", "-ss", "1", "-i", source, *sound, *limits, *coded, name])
        return path

    def cook(self, title: str, **changes: str) -> str:
        """Run a recipe: its shell blocks as one script, its other blocks as files."""
        script = "set -euo pipefail\n"
        for language, text in recipes(self._root)[title]:
            if language == "make":
                (self.folder / "Makefile").write_text(text)
            else:
                assert language == "sh"
                script += text
        for old, new in changes.items():
            assert old in script
            script = script.replace(old, new)
        return self.run(["bash", "-c", script])

    def facts(self, name: str, entries: str) -> list[str]:
        """What ffprobe says of the streams of a file, a line for each."""
        command = ["ffprobe", "-v", "error", "-show_entries", f"stream={entries}", "-of", "csv=p=0"]
        return self.run([*command, name]).split()


@pytest.fixture
def kitchen(root: Path, tmp_path: Path, ffmpeg: str) -> Kitchen:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    return Kitchen(root, tmp_path)


def needs(program: str) -> None:
    """Skip without it, but on CI, which installs it."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is missing; install it with apt-get install {program}")
        pytest.skip(f"needs {program}")


def test_every_recipe_is_run_here(root: Path) -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert recipes(root)
    assert [title for title in recipes(root) if f'cook("{title}"' not in text] == []


def test_ffmpeg_in_front_and_behind(kitchen: Kitchen) -> None:
    kitchen.film("reel.avi", "-c:v", "mpeg4", "-q:v", "2", "-c:a", "pcm_s16le")
    kitchen.cook("FFmpeg in front and behind")
    assert kitchen.facts("restored.mkv", "codec_name,width,height") == ["ffv1,144,72", "pcm_s16le"]
    assert kitchen.facts("restored.mkv", "color_space,color_primaries")[0] == "bt709,bt709"
    assert len(read_frames(kitchen.folder / "restored.mkv")) == 8


def test_chunks_are_joined_to_the_whole_film(kitchen: Kitchen) -> None:
    coded = ("-c:v", "libx264", "-c:a", "aac")
    kitchen.film("film.mkv", *coded, frames=16)
    kitchen.cook("Chunked encodes", **{"-segment_time 60": "-segment_time 0.32"})
    assert len(list((kitchen.folder / "repaired").iterdir())) == 2
    assert kitchen.facts("joined.mkv", "codec_name") == ["hevc", "aac"]
    before, joined, master = (
        read_frames(kitchen.folder / name) for name in ("film.mkv", "joined.mkv", "master.mkv")
    )
    assert len(before) == len(joined) == len(master) == 16
    # Matroska rounds times to milliseconds, once more at each seam.
    apart = [abs(one.time - two.time) for one, two in zip(before, joined, strict=True)]
    assert max(apart) < 0.0045


def test_a_scene_goes_to_the_editor_with_its_timecode_and_matte(kitchen: Kitchen) -> None:
    edit = ("-c:v", "prores_ks", "-profile:v", "3", "-pix_fmt", "yuv422p10le", "-c:a", "pcm_s16le")
    damaged = "crop=192:96:0:0"
    kitchen.film("scene.mov", *edit, "-timecode", "10:00:00:00", size=damaged)
    kitchen.film("camera.mp4", "-c:v", "libx264", "-c:a", "aac")
    kitchen.cook("Resolve and Premiere")
    restored = kitchen.facts("scene_restored.mov", "codec_name,pix_fmt:stream_tags=timecode")
    assert restored[:2] == ["prores,yuv422p10le,10:00:00:00", "pcm_s16le"]
    assert kitchen.facts("camera_restored.mov", "codec_name") == ["prores", "pcm_s16le"]
    assert kitchen.facts("scene_patch.mov", "profile")[0] == "4444"
    patch, matte = (
        read_frames(kitchen.folder / name) for name in ("scene_patch.mov", "patch_matte.mkv")
    )
    assert any(frame.to_ndarray().any() for frame in matte)
    for laid, mark in zip(patch, matte, strict=True):
        assert laid.format.name == "yuva444p12le"
        alpha = samples_of(laid)[3] / 4095.0
        assert abs(alpha - mark.to_ndarray() / 255.0).max() < 0.01


def test_what_is_put_into_the_drop_folder_comes_out(kitchen: Kitchen) -> None:
    kitchen.film("reel.mkv")
    assert "ended with 143" in kitchen.cook("A drop folder")
    assert len(read_frames(kitchen.folder / "restored/reel_restored.mkv")) == 8
    assert "reel.mkv" in (kitchen.folder / "drop.log").read_text()


def test_make_does_what_is_not_done_yet(kitchen: Kitchen) -> None:
    needs("make")
    for name in ("one", "two"):
        kitchen.film(f"reels/{name}.mkv", frames=4)
    restored = kitchen.folder / "restored"
    # An unfinished job of which nothing is left: it is resumed, fails, and does not stop the other.
    (restored / "two.mkv.vrjob").mkdir(parents=True)
    with pytest.raises(AssertionError, match=r"vidrepair resume restored/two\.mkv"):
        kitchen.cook("A hundred reels")
    (restored / "two.mkv.vrjob").rmdir()
    assert [path.name for path in restored.iterdir()] == ["one.mkv"]
    again = kitchen.cook("A hundred reels")
    assert "vidrepair run reels/two.mkv" in again
    assert "one.mkv" not in again
    assert "vidrepair" not in kitchen.cook("A hundred reels")


def test_parallel_runs_a_film_in_each_slot(kitchen: Kitchen) -> None:
    needs("parallel")
    for name in ("one", "two"):
        kitchen.film(f"reels/{name}.mkv", frames=4)
    kitchen.cook("Two cards", **{CARD: "cpu"})
    assert len(read_frames(kitchen.folder / "restored/one.mkv")) == 4
    assert len(read_frames(kitchen.folder / "restored/two.mkv")) == 4
    log = (kitchen.folder / "parallel.log").read_text().splitlines()
    assert [line.split("\t")[6] for line in log[1:]] == ["0", "0"]
