"""Compiled engines are found again, never trusted blindly, and never half there."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from vidrepair.cli import main
from vidrepair.engines.cache import FOLDER_VARIABLE, MANIFEST, EngineCache
from vidrepair.engines.key import EngineKey, Profile, Shape
from vidrepair.errors import EngineError, UsageError

SHAPE = Shape(1, 480, 864)
KEY = EngineKey(
    model="fast",
    weights="5" * 64,
    graphs="9" * 64,
    flavour="rtx",
    library="1.7.1.116",
    target="portable",
    precision="fp32",
    profile=Profile.static(SHAPE),
)
OTHERS = {
    "tile": 256,
    "weights": "6" * 64,
    "graphs": "8" * 64,
    "flavour": "tensorrt",
    "library": "1.7.1.117",
    "target": "SM86",
    "precision": "fp16",
    "profile": Profile.dynamic(SHAPE),
    "vidrepair": "9.9.9",
}
GRAPHS = {"align": b"a" * 1000, "restore": b"r" * 500}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def test_an_engine_is_found_again(cache: EngineCache) -> None:
    assert cache.find(KEY) is None
    added = cache.add(KEY, GRAPHS, {"seconds": 2.5})
    found = EngineCache(cache.folder).find(KEY)
    assert found is not None
    assert found.folder == added.folder
    assert found.file("align").read_bytes() == GRAPHS["align"]
    assert found.size == 1500
    told = json.loads((found.folder / MANIFEST).read_text())
    assert told["seconds"] == 2.5
    assert told["key"]["profile"]["best"] == {"lanes": 1, "height": 480, "width": 864}


def test_everything_but_the_name_makes_another_engine() -> None:
    assert {*OTHERS, "model"} == {field.name for field in fields(EngineKey)}
    assert replace(KEY, model="other").digest == KEY.digest
    digests = {replace(KEY, **{name: value}).digest for name, value in OTHERS.items()}
    assert len(digests | {KEY.digest}) == len(OTHERS) + 1


@pytest.mark.parametrize("name", ["align.engine", "restore.engine", MANIFEST])
@pytest.mark.parametrize("how", ["truncated", "foreign", "gone"])
def test_a_damaged_engine_is_none(
    cache: EngineCache, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache.add(KEY, GRAPHS, {}).folder / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] + (b"" if how == "truncated" else b"x" * 20))
    assert cache.find(KEY) is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is damaged" in caplog.text
    assert cache.add(KEY, GRAPHS, {}).folder == path.parent
    assert cache.find(KEY) is not None


def test_an_engine_under_the_name_of_another_is_none(
    cache: EngineCache, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(KEY, target="SM86")
    cache.add(KEY, GRAPHS, {}).folder.rename(cache.folder / other.digest[:32])
    assert cache.find(other) is None
    assert "of another engine" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="Windows has its own rights")
def test_the_folder_is_the_users_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "new" / "engines")
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    cache.folder.chmod(0o755)
    with pytest.raises(EngineError, match=r"open to others \(mode 0755\).*remove it"):
        EngineCache(cache.folder)


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="gives a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, -1)
    with pytest.raises(EngineError, match="belongs to another user"):
        EngineCache(tmp_path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=rf"cannot be kept in .*file.*{FOLDER_VARIABLE}"):
        EngineCache(tmp_path / "file" / "engines")


def test_a_full_disk_leaves_nothing(cache: EngineCache) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(EngineError, match="make room there"):
            cache.add(KEY, {"align": b"a" * (1 << 17)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(cache.folder.iterdir()) == []


def test_the_second_of_two_waits(cache: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
    order = []

    def second() -> None:
        with EngineCache(cache.folder).building(KEY):
            order.append("second")

    with cache.building(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting" not in caplog.text:
            time.sleep(0.01)
        with cache.building(replace(KEY, target="SM86")):
            order.append("another engine")
        order.append("first")
    thread.join()
    assert order == ["another engine", "first", "second"]


def test_what_was_used_longest_ago_goes_first(cache: EngineCache) -> None:
    keys = [replace(KEY, target=target) for target in ("SM86", "SM89", "SM120")]
    for age, key in enumerate(keys):
        entry = cache.add(key, GRAPHS, {})
        os.utime(entry.folder / MANIFEST, (1e9 - age, 1e9 - age))
    cache.find(keys[2])
    for name, age in (("damaged", 2e5), ("being-built.part", 10.0)):
        (cache.folder / name).mkdir()
        os.utime(cache.folder / name, (time.time() - age, time.time() - age))
    (cache.folder / "incomplete").mkdir()
    (cache.folder / "incomplete" / MANIFEST).write_text('{"format": 1}')
    removed = cache.prune(3200)
    assert [entry.manifest["key"]["target"] for entry in removed] == ["SM89"]
    targets = [entry.manifest["key"]["target"] for entry in cache.entries()]
    assert targets == ["SM120", "SM86"]
    assert not (cache.folder / "damaged").exists()
    assert (cache.folder / "being-built.part").exists()
    assert (cache.folder / "incomplete").exists()  # perhaps somebody writes it now


def test_a_dynamic_engine_stands_in_for_the_sizes_it_runs(cache: EngineCache) -> None:
    wide = replace(KEY, profile=Profile.dynamic(Shape(2, 480, 864)))
    cache.add(replace(wide, precision="fp16"), GRAPHS, {})
    assert cache.find_covering(KEY) is None
    entry = cache.add(wide, GRAPHS, {})
    found = cache.find_covering(KEY)
    assert found is not None
    assert found.folder == entry.folder
    assert cache.find_covering(replace(KEY, profile=Profile.static(Shape(3, 480, 864)))) is None


def test_an_engine_is_read_whole_or_not_at_all(cache: EngineCache) -> None:
    entry = cache.add(KEY, GRAPHS, {})
    assert entry.read("restore") == GRAPHS["restore"]
    entry.file("restore").write_bytes(b"x" * 500)
    with pytest.raises(EngineError, match="is not what was built"):
        entry.read("restore")
    entry.file("restore").unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        entry.read("restore")


def test_what_is_learned_of_an_engine_is_noted(cache: EngineCache) -> None:
    entry = cache.note(cache.add(KEY, GRAPHS, {}), {"agreement": {"rms": 0.01}})
    found = cache.find(KEY)
    assert found is not None
    assert found.manifest["agreement"] == {"rms": 0.01} == entry.manifest["agreement"]
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "align.engine",
        MANIFEST,
        "restore.engine",
    ]


def test_the_tool_lists_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    entry = EngineCache().add(KEY, GRAPHS, {})
    assert entry.folder.is_relative_to(tmp_path)
    listed = CliRunner().invoke(main, ["engines", "list"]).stdout
    assert "fast 1x864x480 fp32, rtx 1.7.1.116, portable" in listed
    assert str(entry.folder) in listed
    pruned = CliRunner().invoke(main, ["engines", "prune", "--limit", "0"])
    assert pruned.stdout.endswith("1 engine removed\n")
    assert not entry.folder.exists()


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ((1, 480, 850), "850x480 is not a size .* multiples of 16"),
        ((1, 0, 864), "864x0"),
        ((0, 480, 864), "--lanes 0"),
        ((1, 480, 16384), "up to 8192"),
    ],
)
def test_a_shape_that_no_engine_has_is_refused(sides: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Shape(*sides)


def test_a_profile_knows_its_shapes() -> None:
    static, dynamic = Profile.static(SHAPE), Profile.dynamic(Shape(2, 480, 864))
    assert static.holds(SHAPE)
    assert not static.holds(Shape(2, 480, 864))
    assert dynamic.holds(Shape(1, 64, 64))
    assert dynamic.holds(Shape(2, 960, 1728))
    assert not dynamic.holds(Shape(2, 976, 1728))
    assert Profile.dynamic(Shape(1, 32, 32)).least == Shape(1, 32, 32)
    with pytest.raises(UsageError, match="height 480 is not between 640 and 640"):
        Profile(Shape(1, 640, 864), SHAPE, Shape(1, 640, 864))
