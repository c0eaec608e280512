"""What the first bytes of a sound file promise, and whether that much is there.

libsndfile and FFmpeg quietly shorten a file whose end is missing. Most containers say how long they were
meant to be, and this module asks them: RIFF, RF64, AIFF, AU, CAF, W64, AVI, MP4, Matroska (WebM), Ogg. MP3,
ADTS AAC, MPEG-TS and PS, AMR, AC-3, FLV and ASF do not say it in a way that could be trusted: a stale length
is as common there as a lost end.
"""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from clotho_long.core.errors import AudioError

# What is written for the length of a wav by whoever does not know it yet: 0 by recorders that lose power, the
# others by programs that write into a pipe, some of them less the size of the header.
_UNKNOWN_WAV_LENGTHS = (range(1), range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))
_WRAP = 1 << 32  # a 32-bit length starts again here

_W64_RIFF = bytes.fromhex("726966662E91CF11A5D628DB04C10000")
_W64_DATA = bytes.fromhex("64617461F3ACD3118CD100C04F8EDB8A")
_W64_HEADER = 24  # of each chunk: a GUID and a length that counts both
_SNDFILE_MAGIC = (
    *(b".snd", b"caff", _W64_RIFF, b"Creative Voice", b"NIST_1A", b" paf", b"fap ", b"2BIT", b"PVF1"),
    *(b"MATLAB 5", b"Extended Instrument", b"ALawSoundFile"),
)
_OGG_PAGE = 27  # bytes of a page's header before its table of segments
_OGG_TAIL = 1 << 17  # holds the longest page, and then some
_EBML_SEGMENT = 0x18538067
_EBML_CLUSTER = 0x1F43B675
_MP4_BOXES = re.compile(rb"[ -~\xa9]{4}")

Door: TypeAlias = Literal["libsndfile", "ffmpeg", "ffmpeg-ignoring-length"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Bytes of a file that its header speaks of: how many it means, and how many there are."""

    meant: int | None  # None: it does not say
    there: int


def door_for(path: Path) -> Door:
    """Who reads this file: libsndfile where it counts samples right, FFmpeg all others."""
    with path.open("rb") as file:
        head = file.read(26)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            return "libsndfile" if _wav_data(file, head).meant is not None else "ffmpeg-ignoring-length"
    if head[:4] == b"fLaC":
        # 36 bits of STREAMINFO; 0 from an encoder that wrote into a pipe
        num_samples = int.from_bytes(head[21:26], "big") & (1 << 36) - 1
        return "libsndfile" if num_samples else "ffmpeg"
    if head.startswith(_SNDFILE_MAGIC) or _is_aiff(head):
        return "libsndfile"
    return "ffmpeg"


def refuse_truncated(path: Path) -> None:
    """Nothing, if all that the file's container announces is there, or if it announces nothing.

    Raises:
        AudioError: the end of the file is missing.
    """
    with path.open("rb") as file:
        head = file.read(32)
        measure = _measure_for(head)
        extent = measure(file, head) if measure else None
    if extent is not None and extent.meant is not None and extent.meant > extent.there:
        raise AudioError(
            f"is truncated: {extent.there} of {extent.meant} bytes of sound are there", path, "replace it"
        )


def _measure_for(head: bytes) -> Callable[[BinaryIO, bytes], Extent | None] | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav_data
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi
    if _is_aiff(head):
        return _aiff
    if head[:16] == _W64_RIFF:
        return _w64
    by_magic = {b".snd": _au, b"caff": _caf, b"OggS": _ogg, b"\x1a\x45\xdf\xa3": _matroska}
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _mp4
    return by_magic.get(head[:4])


def _is_aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def _wav_data(file: BinaryIO, head: bytes) -> Extent:
    """The data chunk of RIFF, RF64 and BW64; `meant` is None too for a length that has wrapped at 4 GiB."""
    size = os.fstat(file.fileno()).st_size
    length64 = None
    for name, length, start in _chunks(file, 12, "<"):
        if name == b"ds64":
            length64 = struct.unpack("<Q", file.read(16)[8:].ljust(8, b"\0"))[0]
        elif name == b"data":
            there = size - start
            if length64 is not None and length == 0xFFFFFFFF:
                return Extent(meant=length64 if 0 < length64 < 1 << 62 else None, there=there)
            if any(length in unknown for unknown in _UNKNOWN_WAV_LENGTHS) or there - length >= _WRAP:
                return Extent(meant=None if there else 0, there=there)
            return Extent(meant=length, there=there)
    return Extent(meant=0, there=0)  # no sound at all, which the decoder says


def _aiff(file: BinaryIO, head: bytes) -> Extent | None:
    size = os.fstat(file.fileno()).st_size
    for name, length, start in _chunks(file, 12, ">"):
        if name == b"SSND":
            return Extent(meant=length, there=size - start)
    return None


def _au(file: BinaryIO, head: bytes) -> Extent:
    start, length = struct.unpack(">II", head[4:12])
    there = os.fstat(file.fileno()).st_size - start
    return Extent(meant=None if length == 0xFFFFFFFF else length, there=there)


def _caf(file: BinaryIO, head: bytes) -> Extent | None:
    size = os.fstat(file.fileno()).st_size
    place = 8
    while len(chunk := _at(file, place, 12)) == 12:
        name, length = struct.unpack(">4sq", chunk)
        if name == b"data":
            return Extent(meant=None if length < 0 else length, there=size - place - 12)
        if length < 0:
            return None
        place += 12 + length
    return None


def _w64(file: BinaryIO, head: bytes) -> Extent | None:
    size = os.fstat(file.fileno()).st_size
    place = _W64_HEADER + 16
    while len(chunk := _at(file, place, _W64_HEADER)) == _W64_HEADER:
        length = int.from_bytes(chunk[16:], "little")
        if chunk[:16] == _W64_DATA:
            there = size - place - _W64_HEADER
            return Extent(meant=length - _W64_HEADER if length > _W64_HEADER else None, there=there)
        if length < _W64_HEADER:
            return None
        place += -(-length // 8) * 8
    return None


def _avi(file: BinaryIO, head: bytes) -> Extent | None:
    """All RIFF chunks together: a long AVI has several."""
    size = os.fstat(file.fileno()).st_size
    end = 0
    for name, length, start in _chunks(file, 0, "<"):
        if name != b"RIFF":
            break
        if length == 0:
            return None  # never finished
        end = start + length
    return Extent(meant=end, there=size)


def _mp4(file: BinaryIO, head: bytes) -> Extent | None:
    """The top-level boxes, one after the other."""
    size = os.fstat(file.fileno()).st_size
    place = 0
    while len(box := _at(file, place, 16)) >= 8:
        length, name = struct.unpack(">I4s", box[:8])
        if not _MP4_BOXES.fullmatch(name) or length == 0:
            return None  # padding, or a box that reaches to the end whatever that is
        if length == 1:
            length = int.from_bytes(box[8:16], "big")
        if length < 8:
            return None
        place += length
    return Extent(meant=place, there=size)


def _ogg(file: BinaryIO, head: bytes) -> Extent | None:
    """The last page: all of it is there, or the file was cut."""
    size = os.fstat(file.fileno()).st_size
    tail_start = max(0, size - _OGG_TAIL)
    tail = _at(file, tail_start, _OGG_TAIL)
    place = tail.rfind(b"OggS")
    if place < 0:
        return None
    header = tail[place : place + _OGG_PAGE]
    num_segments = header[26] if len(header) == _OGG_PAGE else 1
    table = tail[place + _OGG_PAGE : place + _OGG_PAGE + num_segments]
    end = place + _OGG_PAGE + num_segments + sum(table)
    return Extent(meant=tail_start + end, there=size)


def _matroska(file: BinaryIO, head: bytes) -> Extent | None:
    """The elements of the segment, one after the other; inside a cluster of unknown length, its own."""
    size = os.fstat(file.fileno()).st_size
    place = 0
    while place < size:
        data = _at(file, place, 12)
        element, length, header = _ebml_element(data)
        if not header:
            cut = data[0] and place + len(data) == size
            return Extent(meant=size + 1, there=size) if cut else None  # else padding, or damaged
        enters = element in (_EBML_SEGMENT, _EBML_CLUSTER) and length is None
        if element == _EBML_SEGMENT and length is not None:
            return Extent(meant=place + header + length, there=size)
        if length is None and not enters:
            return None
        place += header if enters else header + (length or 0)
    return Extent(meant=place, there=size)


def _ebml_element(data: bytes) -> tuple[int, int | None, int]:
    """Id, length (None: unknown) and size of the header of an element; a header of 0 if that is none."""
    if not data or not data[0]:
        return 0, None, 0
    id_bytes = 9 - data[0].bit_length()
    if id_bytes > 4 or len(data) <= id_bytes or not data[id_bytes]:
        return 0, None, 0
    length_bytes = 9 - data[id_bytes].bit_length()
    header = id_bytes + length_bytes
    if len(data) < header:
        return 0, None, 0
    ones = (1 << 7 * length_bytes) - 1
    length = int.from_bytes(data[id_bytes:header], "big") & ones
    return int.from_bytes(data[:id_bytes], "big"), None if length == ones else length, header


def _chunks(file: BinaryIO, start: int, order: Literal["<", ">"]) -> Iterator[tuple[bytes, int, int]]:
    """Name, length and place of the content of each chunk of a RIFF-like file, padded to even lengths."""
    place = start
    while len(chunk := _at(file, place, 8)) == 8:
        name, length = struct.unpack(f"{order}4sI", chunk)
        yield name, length, place + 8
        place += 8 + length + length % 2


def _at(file: BinaryIO, place: int, num_bytes: int) -> bytes:
    file.seek(place)
    return file.read(num_bytes)
