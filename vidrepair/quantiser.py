"""What a decoder tells of its quantiser: the step to which a frame's coefficients were rounded.

Noise that a codec froze or smoothed away does not change from frame to frame, and a measurement in
time passes over it; how much the codec itself changed can be told from its step.
"""

from __future__ import annotations

import math
import struct

import numpy as np

TELLING = frozenset({"h264", "mpeg1video", "mpeg2video"})
"""FFmpeg's decoders that tell it rightly."""
EXPORT = {"export_side_data": "venc_params"}
"""The options that make them."""

_HEADER = struct.Struct("@INNii")
"""AVVideoEncParams of libavutil/video_enc_params.h: blocks, offset, size, type, qp, (delta_qp)."""
_H264, _MPEG2 = 1, 2


def h264_step(qp: float) -> float:
    """The step at a quantisation parameter of H.264: 0.625 at 0, doubled every 6."""
    return 0.625 * math.pow(2.0, qp / 6.0)


def quantiser_step(params: bytes) -> float:
    """The mean step of a frame, in 8-bit code values, from its AVVideoEncParams; 0 if not told.

    H.264: `h264_step` (ITU-T H.264, 8.5.9), whatever the depth, for FFmpeg counts QP as at 8
    bits. MPEG-2: quantiser_scale times the weight, 16 for differences and about 32 for others, over
    16 (ITU-T H.262, 7.4.2); 1.5 times the scale stands for their mixture.
    """
    if len(params) < _HEADER.size:
        return 0.0
    count, offset, size, kind, base = _HEADER.unpack_from(params)
    if kind not in (_H264, _MPEG2) or (
        count and (size < 20 or offset + count * size > len(params))
    ):
        return 0.0
    qp = float(base)
    if count:
        # The fifth field of a block is what it adds to the frame's value.
        blocks = np.frombuffer(params, np.int32, count * size // 4, offset).reshape(count, -1)
        qp += float(blocks[:, 4].mean())
    if kind == _MPEG2:
        return max(1.5 * qp, 0.0)
    return h264_step(qp)
