"""OpenVINO without its telemetry.

With that every import of it starts a process, tells Google Analytics, and leaves files in the
user's home; a film is nobody's business. OpenVINO has stand-ins for where `openvino_telemetry` is
not installed, and so it is made to look while OpenVINO is imported. A program that has imported
both before has chosen for itself.
"""

from __future__ import annotations

import sys

_TELEMETRY = "openvino_telemetry"
_found = sys.modules.get(_TELEMETRY)
sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # "not installed", for `import`
try:
    import openvino as ov
    from openvino import opset13
finally:
    del sys.modules[_TELEMETRY]
    if _found is not None:
        sys.modules[_TELEMETRY] = _found

__all__ = ["opset13", "ov"]
