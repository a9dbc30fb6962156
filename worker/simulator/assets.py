"""The bytes behind the asset URLs: small, valid files, so that a page can show a preview.

Real renderings would need an encoder; a flat colour derived from the generation's ID is enough to
tell two generations apart. Images are PNG whatever `format` the request asked for.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

_WIDTH, _HEIGHT = 16, 9
_VIDEO_S = 5
_TIMESCALE = 1000
# The fixed part of a movie header: rate 1.0, volume 1.0, reserved words, the identity matrix.
_RATE_VOLUME = struct.pack(">IH10x", 0x00010000, 0x0100)
_MATRIX = struct.pack(">9I", 0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000)


def asset_file(name: str) -> tuple[str, bytes]:
    """Return media type and bytes for an asset's file name, which ends in .png or .mp4."""
    if name.endswith(".mp4"):
        return "video/mp4", mp4()
    digest = hashlib.sha256(name.encode()).digest()
    return "image/png", png(red=digest[0], green=digest[1], blue=digest[2])


def png(*, red: int, green: int, blue: int) -> bytes:
    """Return a 16x9 image of one colour, each channel 0 to 255 (PNG, ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    row = b"\0" + bytes((red, green, blue)) * _WIDTH
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _png_chunk(b"IHDR", header),
            _png_chunk(b"IDAT", zlib.compress(row * _HEIGHT)),
            _png_chunk(b"IEND", b""),
        )
    )


def mp4() -> bytes:
    """Return a five-second movie without tracks: its header boxes only (ISO/IEC 14496-12)."""
    times = struct.pack(">IIIII", 0, 0, 0, _TIMESCALE, _VIDEO_S * _TIMESCALE)
    header = _mp4_box(b"mvhd", times + _RATE_VOLUME + _MATRIX + struct.pack(">24xI", 1))
    return _mp4_box(b"ftyp", b"isom\0\0\x02\0isommp42") + _mp4_box(b"moov", header)


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _mp4_box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", 8 + len(data)) + kind + data
