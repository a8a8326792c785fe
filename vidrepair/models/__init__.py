"""Released weights and their cards, and the code that finds and checks them.

A model is up to three files of one stem: NAME.safetensors for torch, NAME.align.onnx and
NAME.restore.onnx for every other engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vidrepair.errors import ModelError
from vidrepair.models.card import ModelCard
from vidrepair.models.weights import (
    WeightsFile,
    check_same_card,
    check_weights,
    read_onnx,
    read_safetensors,
)

__all__ = [
    "ModelCard",
    "ModelFiles",
    "WeightsFile",
    "find_model",
    "load_weights",
    "read_card",
    "released_models",
]

_RELEASED = Path(__file__).parent
_ALIGN, _RESTORE, _WEIGHTS = _SUFFIXES = (".align.onnx", ".restore.onnx", ".safetensors")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The checked files of one model."""

    folder: Path
    stem: str
    card: ModelCard

    @property
    def name(self) -> str:
        """What `find_model` finds it by: the released name, or the path of a file."""
        if self.folder == _RELEASED:
            return self.stem
        return str(
            next(path for end in _SUFFIXES if (path := self.folder / f"{self.stem}{end}").exists())
        )

    @property
    def align(self) -> Path:
        """The graph `align`. Raises ModelError when the model has none."""
        return self._file(_ALIGN)

    @property
    def restore(self) -> Path:
        """The graph `restore`. Raises ModelError when the model has none."""
        return self._file(_RESTORE)

    @property
    def has_graphs(self) -> bool:
        """Whether both graphs are there; else only torch runs the model."""
        return all((self.folder / f"{self.stem}{end}").exists() for end in (_ALIGN, _RESTORE))

    @property
    def safetensors(self) -> Path:
        """The weights that torch loads. Raises ModelError when the model has none."""
        return self._file(_WEIGHTS)

    def load_weights(self) -> WeightsFile:
        """What torch needs, checked. Raises ModelError when the model has no .safetensors."""
        return _load_safetensors(self.safetensors)

    def _file(self, suffix: str) -> Path:
        path = self.folder / f"{self.stem}{suffix}"
        if path.exists():
            return path
        if suffix == _WEIGHTS:
            raise ModelError(f"{path} is missing and torch needs it; use --backend openvino")
        raise ModelError(
            f"{path} is missing and only torch runs without it; use --backend torch, or "
            f"write it by: vidrepair-build export {self.stem}{_WEIGHTS} -o {self.folder}"
        )


def released_models() -> tuple[str, ...]:
    """The names of the models that are bundled."""
    return tuple(sorted(path.name[: -len(_ALIGN)] for path in _RELEASED.glob(f"*{_ALIGN}")))


def find_model(name: str | Path) -> ModelFiles:
    """Find a model by its released name or by one of its files, and check all its files.

    Raises ModelError when it is not there, a file is damaged, or the files do not belong
    together; also when there is nothing but a .safetensors and torch is not installed.
    """
    folder, stem = _locate(name)
    align, restore, weights = (folder / f"{stem}{suffix}" for suffix in _SUFFIXES)
    loaded = _load_safetensors(weights) if weights.exists() else None
    if align.exists() or restore.exists():
        for path in (align, restore):
            if not path.exists():
                raise ModelError(f"{path} is missing; put the pair of .onnx files in one folder")
        graphs = read_onnx(align), read_onnx(restore)
        check_weights(*graphs)
        if loaded:
            check_same_card(loaded, graphs[0])
        return ModelFiles(folder, stem, graphs[0].card)
    if loaded is None or find_spec("torch") is None:
        raise ModelError(
            f"{weights} needs torch, which is not installed; pip install 'vidrepair[train]', "
            "or put the pair of .onnx files beside it"
        )
    return ModelFiles(folder, stem, loaded.card)


def load_weights(name: str | Path) -> WeightsFile:
    """The weights of a released name or of a .safetensors, checked; no other file is read.

    Raises ModelError when the file is missing or damaged.
    """
    folder, stem = _locate(name)
    path = folder / f"{stem}{_WEIGHTS}"
    if not path.exists():
        raise ModelError(f"{path} is missing; give the .safetensors of the model")
    return _load_safetensors(path)


def read_card(path: Path) -> ModelCard:
    """The card in the header of one .safetensors or .onnx file.

    Raises ModelError when the file is missing, damaged, or has none.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path).card
    return read_onnx(path).card


def _load_safetensors(path: Path) -> WeightsFile:
    file = read_safetensors(path)
    check_weights(file)
    return file


def _locate(name: str | Path) -> tuple[Path, str]:
    """Folder and stem of a released name, or of a file that exists."""
    path = Path(name)
    for suffix in _SUFFIXES:
        if path.name.endswith(suffix):
            if not path.is_file():
                raise ModelError(f"there is no model file {path}; check the path")
            return path.parent, path.name[: -len(suffix)]
    if str(name) in released_models():
        return _RELEASED, str(name)
    if path.suffix == ".pt" and path.is_file():
        raise ModelError(
            f"{path} is of a training, and no released model; make one of it by: "
            f"python -m training publish {path} --name NAME --out FOLDER --training-data TEXT"
        )
    raise ModelError(
        f"there is no model {str(name)!r}; use {', '.join(released_models())}, or the path of a "
        "file NAME.safetensors, NAME.align.onnx or NAME.restore.onnx"
    )
