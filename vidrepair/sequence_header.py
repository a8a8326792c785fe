"""What MPEG-1 and MPEG-2 say of the pictures to come, before the first of them.

ISO/IEC 11172-2 and 13818-2, 6.2.2.1.
"""

from __future__ import annotations

from typing import Any

CODECS = ("mpeg1video", "mpeg2video")
START = b"\0\0\1\xb3"


class SequenceHeaders:
    """Told of the packets of a film in the order of the file, knows where its size changes.

    FFmpeg's decoder holds one frame until the next is there, and loses it where the next has
    another size.
    """

    def __init__(self, codec: str) -> None:
        self._read = codec in CODECS
        self._size = b""

    def turn(self, packet: Any) -> bool:
        """Whether pictures of another size begin with the packet."""
        if not (self._read and packet.size):
            return False
        data = bytes(packet)  # where the picture behind it is damaged it is no key frame
        at = data.find(START)
        # Twelve bits across, twelve down.
        size = data[at + 4 : at + 7] if at >= 0 else b""
        before, self._size = self._size, size or self._size
        return bool(before and size and size != before)
