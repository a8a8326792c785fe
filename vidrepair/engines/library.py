"""TensorRT and TensorRT-RTX: their modules, their log, and what an engine of theirs depends on.

Both have one API, but for names that came and went.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import logging
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vidrepair.engines.key import EngineKey, EngineRequest, Flavour
from vidrepair.errors import EngineError, UsageError
from vidrepair.models import ModelCard

PORTABLE = "portable"
"""Target of a TensorRT-RTX engine that was built for no capability in particular."""
_MODULES: Mapping[Flavour, str] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
_GRAPH_CODE = (
    "vidrepair.engines.generator",
    "vidrepair.engines.layers",
    "vidrepair.engines.motion",
    "trt_build.export",
)

log = logging.getLogger(__name__)


def load_library(flavour: Flavour) -> Any:
    """The module of TensorRT. Raises EngineError where it is not installed or does not load."""
    try:
        return importlib.import_module(_MODULES[flavour])
    except (ImportError, OSError) as error:  # OSError: its own libraries are not where it looks
        hint = (
            "pip install 'vidrepair[tensorrt]' with NVIDIA's package index, as the README says"
            if flavour == "tensorrt"
            else "pip install 'vidrepair[rtx]'"
        )
        raise EngineError(f"{_MODULES[flavour]} cannot be imported ({error}); {hint}") from error


def find_flavours() -> tuple[Flavour, ...]:
    """The libraries that are installed, where there is a card: TensorRT first."""
    if not has_card():
        return ()
    return tuple(flavour for flavour, name in _MODULES.items() if find_spec(name) is not None)


@functools.cache
def has_card() -> bool:
    """Whether the driver tells of an NVIDIA card; asked without torch, which takes seconds."""
    driver, count = _driver(), ctypes.c_int(0)
    return (
        driver is not None
        and driver.cuInit(0) == 0
        and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


def driver_version() -> str:
    """The CUDA version up to which the driver runs, such as 13.0; empty without a driver."""
    driver, told = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(told)) != 0:
        return ""
    return f"{told.value // 1000}.{told.value % 1000 // 10}"


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None


def make_key(request: EngineRequest, card: ModelCard, library: Any) -> EngineKey:
    """The key of a request on this machine, and on the current card.

    Raises UsageError for a capability that the library does not know, EngineError where plain
    TensorRT finds no card.
    """
    return EngineKey(
        model=card.name,
        weights=card.sha256,
        graphs=_graph_code(),
        flavour=request.flavour,
        library=library.__version__,
        target=_target(request, library),
        precision=request.precision,
        profile=request.profile,
        tile=request.tile,
    )


@functools.cache
def _graph_code() -> str:
    """sha256 of the modules that make the graphs: other code, other graphs, whatever the weights.

    They are read, not imported, for that would take torch.
    """
    digest = hashlib.sha256()
    for module in _GRAPH_CODE:
        spec = find_spec(module)
        if spec is not None and spec.origin:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()


def current_capability() -> str:
    """The current card's compute capability, such as 8.6; needs torch and a card."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return f"{major}.{minor}"


def _target(request: EngineRequest, library: Any) -> str:
    """What the engine will run on. TensorRT tunes for the card at hand."""
    if request.flavour == "rtx":
        names = sorted(compute_capability(library, text).name for text in request.capabilities)
        return ",".join(names) or PORTABLE
    if request.capabilities:
        raise UsageError("--compute-capability is for --flavour rtx; TensorRT builds for this card")
    try:
        import torch
    except ImportError as error:
        raise EngineError(
            "TensorRT needs torch, which is not installed; pip install 'vidrepair[tensorrt]'"
        ) from error
    if not torch.cuda.is_available():
        raise EngineError(
            "no NVIDIA card was found, and TensorRT builds only for the card at hand; check the "
            "driver by nvidia-smi, or use --flavour rtx"
        )
    return f"{torch.cuda.get_device_name()}, {current_capability()}"


def compute_capability(library: Any, text: str) -> Any:
    """`8.6` -> ComputeCapability.SM86."""
    known = library.ComputeCapability.__members__
    found = known.get(f"SM{text.replace('.', '')}")
    if found is None:
        names = [name[2:-1] + "." + name[-1] for name in known if name.startswith("SM")]
        raise UsageError(
            f"--compute-capability {text} is none that TensorRT-RTX {library.__version__} builds "
            f"for; use {', '.join(names)}"
        )
    return found


def make_log(library: Any) -> Any:
    """TensorRT's log into ours; it remembers the last error, which is all that tells of one."""
    severity = library.ILogger.Severity

    class Log(library.ILogger):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()
            self.last_error = ""

        def log(self, level: Any, message: str) -> None:
            if level <= severity.ERROR:
                self.last_error = message.strip()
            log.debug("%s: %s", level, message)

    return Log()
