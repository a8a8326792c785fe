"""ONNX graphs -> engines of TensorRT or of TensorRT-RTX, into the user's cache.

Both libraries have one API, but for names that came and went: tests/trt_api holds the lists that
a test checks every name below against. They answer None or False where something failed, and
say why in their log alone; so every answer is checked and the log's last error told.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from vidrepair.engines.cache import EngineCache, Entry
from vidrepair.engines.key import EngineRequest
from vidrepair.engines.library import compute_capability, load_library, make_key, make_log
from vidrepair.engines.tiles import window_size
from vidrepair.errors import EngineError
from vidrepair.models import ModelFiles, find_model
from vidrepair.models.card import ModelCard

Progress = Callable[[str, int, int], None]
"""Called with what is under way, steps done and steps in all."""

_ENDING = (signal.SIGINT, signal.SIGTERM)


def build_engine(
    request: EngineRequest, *, cache: EngineCache | None = None, progress: Progress | None = None
) -> Entry:
    """The engine from the cache, or built and put there.

    Where another process builds it already, it is waited for. Raises EngineError when the
    library is missing, refuses a graph, or the cache cannot be written; UsageError for a
    capability that the library does not know; KeyboardInterrupt once a build was cut short.
    """
    library = load_library(request.flavour)
    files = find_model(request.model)
    key = make_key(request, files.card, library)
    cache = cache or EngineCache()
    if entry := cache.find(key, warn=False):
        return entry
    with cache.building(key):
        if entry := cache.find(key):
            return entry
        start = time.monotonic()
        # How long kernels take on a card; TensorRT-RTX looks when it runs, and keeps none.
        timing = cache.timings(key) if request.flavour == "tensorrt" else None
        compiler = _Compiler(library, progress, timing)
        built = {
            name: compiler.build(name, data, request, files.card)
            for name, data in _graphs(request, files).items()
        }
        entry = cache.add(key, built, {"seconds": round(time.monotonic() - start, 1)})
        if compiler.timing is not None:
            cache.keep_timings(key, compiler.timing)
    cache.prune()
    return entry


def _graphs(request: EngineRequest, files: ModelFiles) -> dict[str, bytes]:
    """The ONNX graphs: the model's own in fp32, else written now, which needs torch."""
    if request.precision == "fp32" and files.has_graphs:
        return {"align": files.align.read_bytes(), "restore": files.restore.read_bytes()}
    try:
        from trt_build.export import build_graphs
        from vidrepair.engines.generator import load_generator
    except ImportError as error:
        raise EngineError(
            f"{error.name} is not installed, which writes the graphs of {request.precision}; "
            f"pip install 'vidrepair[{request.flavour}]'"
        ) from error
    file = files.load_weights()
    graphs = build_graphs(load_generator(file), file.card, half=request.precision == "fp16")
    return {"align": graphs.align, "restore": graphs.restore}


class _Compiler:
    """One builder of a library, its log, and how far it is."""

    def __init__(self, library: Any, progress: Progress | None, timing: bytes | None) -> None:
        self._library = library
        self.timing = timing
        """What was measured of kernels so far; None measures anew and keeps nothing."""
        self._log = make_log(library)
        self._monitor = _make_monitor(library, progress or (lambda *_: None))
        self._builder = library.Builder(self._log)
        if not self._builder:
            raise self._failed("the builder cannot be made")

    def build(self, name: str, data: bytes, request: EngineRequest, card: ModelCard) -> bytes:
        """One graph. Raises EngineError with what the library said."""
        network = self._parse(name, data)
        config = self._configure(name, network, request, card)
        self._monitor.graph = name
        with _deferring(self._monitor):
            engine = self._builder.build_serialized_network(network, config)
        if self._monitor.failure is not None:
            raise self._monitor.failure
        if engine is None:
            raise self._failed(f"{name} could not be built")
        if self.timing is not None:
            timing = config.get_timing_cache()
            self.timing = bytes(memoryview(timing.serialize())) if timing else b""
        return bytes(memoryview(engine))

    def _configure(self, name: str, network: Any, request: EngineRequest, card: ModelCard) -> Any:
        """How one graph is to be compiled."""
        config = self._builder.create_builder_config()
        if not config:
            raise self._failed("no configuration can be made")
        # With TF32's ten bits of mantissa the motion would be off by up to a pixel.
        config.clear_flag(self._library.BuilderFlag.TF32)
        config.progress_monitor = self._monitor
        if request.capabilities:
            config.num_compute_capabilities = len(request.capabilities)
        for at, text in enumerate(request.capabilities):
            if not config.set_compute_capability(compute_capability(self._library, text), at):
                raise self._failed(f"compute capability {text} was refused")
        profile = self._builder.create_optimization_profile()
        asked, tile = request.profile, request.tile if name == "restore" else 0
        least, best, most = (
            card.input_shapes(shape.lanes, *window_size(shape.height, shape.width, tile, card.halo))
            for shape in (asked.least, asked.best, asked.most)
        )
        for at in range(network.num_inputs):
            tensor = network.get_input(at).name
            profile.set_shape(tensor, least[tensor], best[tensor], most[tensor])
        if not profile or config.add_optimization_profile(profile) < 0:
            raise self._failed(f"the shapes of {name} were refused")
        if self.timing is not None:
            self._give_timing(config)
        return config

    def _give_timing(self, config: Any) -> None:
        """Hand over what was measured; what the library does not take is measured again."""
        for known in (self.timing, b""):
            timing = config.create_timing_cache(known)
            if timing and config.set_timing_cache(timing, ignore_mismatch=False):
                return

    def _parse(self, name: str, data: bytes) -> Any:
        library = self._library
        flag = library.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        network = self._builder.create_network(1 << int(flag))
        parser = library.OnnxParser(network, self._log)
        # An empty file parses, too: into nothing.
        if not parser.parse(data) or not network.num_outputs:
            what = parser.get_error(0).desc() if parser.num_errors else "it is empty"
            raise EngineError(f"{name} cannot be parsed ({what}); export the model again")
        return network

    def _failed(self, what: str) -> EngineError:
        library = self._library
        said = self._log.last_error or "it does not say why"
        return EngineError(f"{what} by {library.__name__} {library.__version__}: {said}")


@contextmanager
def _deferring(monitor: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the build at its next step, and are raised after it.

    Raised inside they would be lost: the bindings print and drop what their callbacks raise.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def defer(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        monitor.cancelled = True

    before = {number: signal.signal(number, defer) for number in _ENDING}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        if came:
            signal.raise_signal(came[0])


def _make_monitor(library: Any, progress: Progress) -> Any:
    """Follows a build, and ends it at its next step once it was cancelled."""

    class Monitor(library.IProgressMonitor):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()
            self.graph = ""
            self.cancelled = False
            self.failure: Exception | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            if parent is None:
                self._steps[name] = steps
                self._tell(name, 0)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self._steps:
                self._tell(name, step + 1)
            return not self.cancelled

        def phase_finish(self, name: str) -> None:
            if name in self._steps:
                self._tell(name, self._steps.pop(name))

        def _tell(self, name: str, done: int) -> None:
            try:
                progress(f"{self.graph}: {name}", done, self._steps.get(name, done))
            except Exception as error:  # noqa: BLE001  # raised again after the build
                self.failure = self.failure or error
                self.cancelled = True

    return Monitor()
