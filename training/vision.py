"""The only importer of torchvision: contact sheets and pictures of trainings."""

from __future__ import annotations

import sys

import torch

try:
    import torchvision  # noqa: F401  # only to see whether it can be imported
except RuntimeError:
    # A wheel for CUDA beside a CPU build of torch: its extension does not load, and the import
    # dies because two operators that it decorates have no schema. Nobody calls them here.
    for _name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[_name]
    _OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.utils import make_grid, save_image

__all__ = ["make_grid", "save_image"]
