"""Which packets of a stream no other picture needs, so that they are decoded only where wanted.

Of HEVC in length-prefixed packets (mp4, Matroska) whose parameter sets stand in the header. Half of
the pictures of x265's default structure are such. Other streams have none: H.264's decoder learns
the order of output from the pictures it meets.

Source of all layouts and names: ITU-T H.265, 7.3.1.2, 7.3.2.2, table 7-1; ISO/IEC 14496-15, 8.3.3.
"""

from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["SparePackets"]

_LENGTH_SIZE_AT, _NUM_ARRAYS_AT = 21, 22
_SPS = 33
_FIRST_NON_PICTURE = 32
_FIRST_REFERENCE = 16
"""Below this, types are in pairs: the even one is that of pictures that none of its own temporal
layer is predicted from (``_N``), the odd one that of others (``_R``)."""


class SparePackets:
    """Tells the packets of one stream that may be left out without changing any other picture."""

    def __init__(self, stream: VideoStream) -> None:
        """Reads the stream's header."""
        codec = stream.codec_context
        header = codec.extradata or b""
        # hvcC begins with its version, 1; parameter sets after start codes begin with 0.
        is_known = (
            codec.codec.canonical_name == "hevc"
            and header[:1] == b"\1"
            and len(header) > _NUM_ARRAYS_AT
        )
        self._length_size = (header[_LENGTH_SIZE_AT] & 3) + 1 if is_known else 0
        # A picture of a lower temporal layer may be needed by one of a higher layer.
        self._has_any = is_known and _temporal_layers(header) == {1}

    def has(self, packet: "Packet[VideoStream]") -> bool:
        """Whether a packet is such; False where its bytes are not understood."""
        if not self._has_any:
            return False
        data, size = memoryview(packet), self._length_size
        at, is_spare = 0, False
        while at + size + 2 <= len(data):
            kind, layer = data[at + size] >> 1 & 0x3F, data[at + size + 1] >> 3
            if kind == _SPS:  # what the header says holds no longer
                self._has_any = False
                return False
            if kind < _FIRST_NON_PICTURE:
                if layer or data[at + size] & 1 or kind >= _FIRST_REFERENCE or kind % 2:
                    return False
                is_spare = True
            at += size + int.from_bytes(data[at : at + size], "big")
        return is_spare and at == len(data)


def _temporal_layers(header: bytes) -> set[int]:
    """Numbers of temporal layers that the sequence parameter sets of an hvcC name; empty if none.

    Empty also where it ends within them.
    """
    found: set[int] = set()
    at = _NUM_ARRAYS_AT + 1
    for _ in range(header[_NUM_ARRAYS_AT]):
        kind, num_units = header[at : at + 1], int.from_bytes(header[at + 1 : at + 3], "big")
        at += 3
        for _ in range(num_units):
            num_bytes = int.from_bytes(header[at : at + 2], "big")
            unit = header[at + 2 : at + 2 + num_bytes]
            if len(unit) < max(num_bytes, 3):
                return set()
            if kind[0] & 0x3F == _SPS:
                found.add((unit[2] >> 1 & 7) + 1)
            at += 2 + num_bytes
    return found
