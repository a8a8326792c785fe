"""Released models are found, checked, and refused when damaged or mixed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from vidrepair.engines.generator import load_generator
from vidrepair.errors import ModelError
from vidrepair.frames import Picture, PixelFormat
from vidrepair.models import ModelCard, find_model, load_weights, read_card, released_models
from vidrepair.models.card import LAYOUT, parse_card
from vidrepair.models.weights import (
    CARD_KEY,
    GRAIN_KEY,
    GRAPH_KEY,
    fingerprint,
    read_onnx,
    read_safetensors,
)

CARD = ModelCard(
    name="small",
    size="fast",
    widths=(8, 16, 24),
    blocks=(1, 1, 1),
    motion_width=8,
    halo=48,
    sha256="0" * 64,
    training_data="nothing",
    training={"steps": 3},
)
IMPORT = "from vidrepair.models import find_model"
SUFFIXES = (".align.onnx", ".restore.onnx", ".safetensors")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with a copy of the released `fast` by another name."""
    files = find_model("fast")
    for suffix in SUFFIXES:
        shutil.copy(files.folder / f"fast{suffix}", tmp_path / f"mine{suffix}")
    return tmp_path


def test_three_models_are_released() -> None:
    assert released_models() == ("base", "fast", "fast-natural")


@pytest.mark.parametrize(("name", "channels"), [("fast", 44), ("base", 60)])
def test_a_released_model_has_its_facts(name: str, channels: int) -> None:
    files = find_model(name)
    card = files.card
    assert files.name == name
    assert (card.name, card.size, card.state_channels) == (name, name, channels)
    assert (card.warm_up, card.span, card.span_large, card.look_ahead) == (8, 64, 32, 1)
    assert (card.stride, card.halo) == (16, 64)
    assert card.training_data
    assert float(card.training["steps"]) > 0
    assert {path.suffix for path in (files.align, files.restore, files.safetensors)} == {
        ".onnx",
        ".safetensors",
    }


@pytest.mark.parametrize("name", released_models())
def test_every_file_has_the_same_card_and_the_same_weights(name: str) -> None:
    files = find_model(name)
    loaded = files.load_weights()
    align, restore = read_onnx(files.align), read_onnx(files.restore)
    assert loaded.card == align.card == restore.card == read_card(files.align)
    joined = align.weights | restore.weights
    assert joined.keys() == loaded.weights.keys()
    assert all(np.array_equal(joined[name], loaded.weights[name]) for name in joined)
    assert fingerprint(joined) == loaded.card.sha256


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_file_of_a_model_finds_the_others(copied: Path, suffix: str) -> None:
    files = find_model(copied / f"mine{suffix}")
    assert files.align == copied / "mine.align.onnx"
    assert files.restore == copied / "mine.restore.onnx"
    assert files.card == find_model("fast").card
    assert find_model(files.name) == files


def test_models_are_read_without_torch_onnx_or_an_engine() -> None:
    code = (
        f"import sys; {IMPORT}; find_model('fast'); "
        "print(sorted({'torch', 'onnx', 'openvino', 'google.protobuf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("place", [0.02, 0.3, 0.95])
def test_a_flipped_bit_is_refused(copied: Path, suffix: str, place: float) -> None:
    path = copied / f"mine{suffix}"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    with pytest.raises(ModelError, match="mine") as caught:
        find_model(path)
    assert "again" in str(caught.value) or "written together" in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_off_file_is_refused(copied: Path, suffix: str, share: float) -> None:
    path = copied / f"mine{suffix}"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=path.name):
        find_model(path)


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float16)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="has no model card"):
        find_model(tmp_path / "other.safetensors")
    (tmp_path / "text.align.onnx").write_text("not a graph at all")
    (tmp_path / "text.restore.onnx").write_text("nor this")
    with pytest.raises(ModelError, match="damaged or no vidrepair model"):
        find_model(tmp_path / "text.align.onnx")


def test_full_precision_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "full.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, path, metadata={CARD_KEY: CARD.to_json()})
    with pytest.raises(ModelError, match="w is float32, not float16"):
        load_weights(path)


@pytest.mark.parametrize("size", [10, 1 << 40, 2**63])
def test_a_header_of_any_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "large.safetensors"
    path.write_bytes(size.to_bytes(8, "little") + b"{}" + bytes(100))
    with pytest.raises(ModelError, match=r"damaged or no vidrepair model: .* header"):
        load_weights(path)


def test_types_that_numpy_lacks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    for name, size in (("BF16", 2), ("F8_E4M3", 1)):
        tensor = {"w": {"dtype": name, "shape": [1], "data_offsets": [0, size]}}
        header = json.dumps(tensor).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
        with pytest.raises(ModelError, match="damaged or no vidrepair model"):
            load_weights(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_beyond_all_models_is_not_read(copied: Path, suffix: str) -> None:
    with (copied / f"mine{suffix}").open("ab") as file:
        file.truncate(1 << 34)  # holes, which take no space
    with pytest.raises(ModelError, match="it has 17179869184 bytes"):
        find_model(copied / f"mine{suffix}")


def test_a_graph_that_takes_data_from_another_file_is_refused(copied: Path) -> None:
    """Sound by its checksum, as whoever makes such a file would see to it."""
    onnx = pytest.importorskip("onnx")
    path = copied / "mine.align.onnx"
    model = onnx.load(path)
    outside = model.graph.initializer.add()
    outside.name, outside.data_type = "outside", onnx.TensorProto.FLOAT
    outside.dims.append(1)
    outside.data_location = onnx.TensorProto.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    digest = hashlib.sha256(model.graph.SerializeToString()).hexdigest()
    for prop in model.metadata_props:
        if prop.key == GRAPH_KEY:
            prop.value = digest
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="takes data from another file"):
        find_model(path)


def test_files_of_different_exports_are_refused(copied: Path) -> None:
    loaded = read_safetensors(copied / "mine.safetensors")
    weights = {name: values + np.float16(0.125) for name, values in loaded.weights.items()}
    card = dataclasses.replace(loaded.card, sha256=fingerprint(weights))
    path = copied / "mine.safetensors"
    save_file(weights, path, metadata={CARD_KEY: card.to_json()})
    assert load_weights(path).card == card  # it is sound in itself
    with pytest.raises(ModelError, match="come from different exports"):
        find_model(path)


def test_half_a_pair_is_refused(copied: Path) -> None:
    (copied / "mine.restore.onnx").unlink()
    with pytest.raises(ModelError, match=r"mine.restore.onnx is missing; put the pair"):
        find_model(copied / "mine.align.onnx")


def test_what_a_model_lacks_is_named(copied: Path) -> None:
    (copied / "mine.safetensors").unlink()
    files = find_model(copied / "mine.align.onnx")
    with pytest.raises(ModelError, match="--backend openvino"):
        files.load_weights()


def test_weights_alone_need_torch(copied: Path) -> None:
    for suffix in SUFFIXES[:2]:
        (copied / f"mine{suffix}").unlink()
    path = copied / "mine.safetensors"
    files = find_model(path)
    with pytest.raises(ModelError, match="vidrepair-build export"):
        _ = files.align
    # None in sys.modules is how Python itself marks what cannot be imported.
    code = f"import sys; sys.modules['torch'] = None; {IMPORT}; find_model({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'vidrepair[train]'" in done.stderr.splitlines()[-1]


def test_weights_of_another_shape_than_the_card_are_refused(tmp_path: Path) -> None:
    weights = {"w": np.zeros(3, np.float16)}
    card = dataclasses.replace(CARD, sha256=fingerprint(weights))
    path = tmp_path / "odd.safetensors"
    save_file(weights, path, metadata={CARD_KEY: card.to_json()})
    with pytest.raises(ModelError, match="another shape than its card"):
        load_generator(load_weights(path))


@pytest.mark.parametrize("name", ["quick", "models/fast.onnx", "missing.align.onnx"])
def test_an_unknown_model_names_the_remedy(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model") as caught:
        find_model(name)
    assert "fast" in str(caught.value) or "check the path" in str(caught.value)
    assert caught.value.exit_code == 6


def test_spans_are_shorter_above_full_hd() -> None:
    yuv = PixelFormat("yuv420p", "yuv", 8, (2, 2))
    assert CARD.core_length(Picture(1920, 1088, yuv)) == 64
    assert CARD.core_length(Picture(4096, 2160, yuv)) == 32


def test_a_card_survives_its_text() -> None:
    assert parse_card(CARD.to_json(), "here") == CARD


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layout": LAYOUT - 1}, f"layout {LAYOUT - 1}"),
        ({"layout": None}, "layout None"),
        ({"widths": [8, 16]}, "widths"),
        ({"halo": "64"}, "halo"),
        ({"halo": 50}, "halo is out of range"),
        ({"span": 0}, "out of range"),
        ({"training": "long"}, "training"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_card_is_refused(change: dict[str, object], words: str) -> None:
    text = json.dumps(json.loads(CARD.to_json()) | change)
    with pytest.raises(ModelError, match=words) as caught:
        parse_card(text, "film.safetensors")
    assert str(caught.value).startswith("film.safetensors has a")


@pytest.mark.parametrize("text", ["", "[]", "{", f'{{"layout": {LAYOUT}}}'])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"x\.onnx has a"):
        parse_card(text, "x.onnx")


def test_what_is_of_a_training_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model"):
        find_model("runs/x/checkpoint.pt")
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(b"")
    with pytest.raises(ModelError, match=f"is of a training.*publish {checkpoint}"):
        find_model(checkpoint)
    path = tmp_path / "grain.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, path, metadata={GRAIN_KEY: "{}"})
    with pytest.raises(ModelError, match="is learned grain, to train with"):
        find_model(path)
