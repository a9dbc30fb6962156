"""How records and bodies are packed: most become a third.

At a hundred thousand trackers every byte of them is a hundred kilobytes.
"""

from __future__ import annotations

import zlib

# What records have in common, the most common at the end. It halves them once more, to below the
# 512 bytes that a hash keeps compact. Never change it: what stands in Redis was packed with it.
_COMMON = (
    b'"failure_reason":"","last_error":"timeout 502 Bad Gateway","error_streak":1,"missing_count":'
    b'"missing_since":1,"reason":"deadline","https://storage.googleapis.com/","status":"RUNNING",'
    b'"SUCCEEDED","output":[{"type":"image","url":"photon-1","photon-flash-1","uni-1","ray-flash-2",'
    b'"ray-3.2","1080p","10s","9:16","1:1","keyframes":{"frame0":{"type":"image","url":"https://'
    b'"concepts":null,"callback_url":"https://","generation_type":"image","state":"queued",'
    b'"completed","failed","finished_at":179"poll_errors":1,"provider":"luma-agents",'
    b'{"provider":"luma","provider_state":"dreaming","model":"ray-2","type":"video","assets":{'
    b'"video":"https://storage.cdn-luma.com/dream_machine/_result.mp4","image":"_thumb.jpg"},'
    b'"progress_video":"_progress.mp4"},"polls":1,"looked_at":179,"seen_at":179,"created_at":179,'
    b'"next_poll_at":179,"generation":{"id":"","generation_type":"video","state":"dreaming",'
    b'"failure_reason":null,"created_at":"202-0-1T0:0:0.Z","assets":null,"model":"ray-2",'
    b'"request":{"generation_type":"video","model":"ray-2","prompt":"","aspect_ratio":"16:9",'
    b'"loop":false,"keyframes":null,"callback_url":null,"resolution":"720p","duration":"5s"}}}'
)


_PACKED_FROM = 512
"""Bodies of so many bytes are packed; most become a third. Below, little would be won."""


def packed(text: bytes) -> bytes:
    """Pack what is written down."""
    packer = zlib.compressobj(zdict=_COMMON)
    return packer.compress(text) + packer.flush()


def unpacked(kept: bytes) -> bytes:
    """Unpack it."""
    return zlib.decompressobj(zdict=_COMMON).decompress(kept)


def packed_body(body: bytes) -> bytes:
    """Write down an event's body, packed if that pays."""
    return body if len(body) < _PACKED_FROM else packed(body)


def body_of(kept: bytes) -> bytes:
    """Read an event's body back. It is JSON, and what is packed does not begin as that does."""
    return kept if kept.startswith(b"{") else unpacked(kept)
