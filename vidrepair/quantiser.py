"""What a decoder tells of its quantiser: the step to which a frame's coefficients were rounded.

Noise that a codec froze or smoothed away does not change from frame to frame, and a measurement in
time passes over it; how much the codec itself changed can be told from its step.
"""

from __future__ import annotations

import struct

import numpy as np

EXPORT = {"export_side_data": "venc_params"}
"""Options that make FFmpeg's decoders of H.264 and MPEG-2 tell; the others ignore them."""

_HEADER = struct.Struct("@INNii")
"""AVVideoEncParams of libavutil/video_enc_params.h: blocks, offset, size, type, qp, (delta_qp)."""
_H264, _MPEG2 = 1, 2


def quantiser_step(params: bytes) -> float:
    """The mean step of a frame, in 8-bit code values, from its AVVideoEncParams; 0 if not told.

    H.264: 0.625 at QP 0, doubled every 6 (ITU-T H.264, 8.5.9), whatever the depth, for FFmpeg
    counts QP as at 8 bits. MPEG-2: quantiser_scale times the weight, 16 for differences and about
    32 for others, over 16 (ITU-T H.262, 7.4.2); 1.5 times the scale stands for their mixture.
    """
    if len(params) < _HEADER.size:
        return 0.0
    count, offset, size, kind, base = _HEADER.unpack_from(params)
    if kind not in (_H264, _MPEG2) or (
        count and (size < 20 or offset + count * size > len(params))
    ):
        return 0.0
    blocks = np.frombuffer(params, np.int32, count * size // 4, offset).reshape(count, -1)
    # The fifth field of a block is what it adds to the frame's value.
    qp = base + (float(blocks[:, 4].mean()) if count else 0.0)
    if kind == _MPEG2:
        return max(1.5 * qp, 0.0)
    step: float = 0.625 * 2.0 ** (qp / 6.0)
    return step
