"""What nobody should type and no file should hold: a table of values and a folder of broken files."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

# As they are typed (so without a zero byte) after an option, or as a value of KEY=VALUE.
VALUES = (
    "", " ", "\t", "\n", "-", "--", "---", "=", ".", "..", "/", "//", "~", "*", "%s", "{}",
    "$HOME", "`id`", "0", "-0", "-1", "1", "1.5", "-1.5", "1e-4", "1e400", "-1e400", "1e308", "nan",
    ".nan", "inf", ".inf", "-.inf", "Infinity", "NaN", "9" * 19, "9" * 400, "9" * 5000, "0x10",
    "0o17", "1_000", "1,000", "1:30", "١٢", "½", "1e", "true", "false", "yes", "null", "None",
    "~null", "[]", "{}", "[1", "{a: [", "[1, 2", "[[]]", "[nan]", "[0]", "[-1]", "{a: 1}",
    "{a: 1, a: 2}", "!!python/object/apply:os.system [id]", "&a [*a]", "*x", "? ", "- a", "a: b: c",
    "'", '"', "@", "%", "|", ">", "#", "# x", "2023-99-99", "2023-01-01", "a" * 300, "é",
    "e\u0301", "日本語" * 40, "🎧", "\u202e", "\ufeff", "\x1b[31m", "\udcff", "../../x",
    "/abs/x", "C:\\x", "/dev/null", "a/b", "x.xyz", "cuda",
    "cuda:63", "cuda:-1", "cuda:x", "cpu:0", "mps", "meta", "gpu", "ratio:nan,1,1", "ratio:0,0,0",
    "ratio:1,2", "ratio:1e400,1,1", "S0", "s1", "S1,S1", "1,1", "seed=-1", "x=[", "a.b.c=1",
    "model.hidden_dim.x=3", "model=3", "train.seed=-1", "features.row_s=.inf", "gap_s.mean.x=3",
    "http://127.0.0.1:9/x", "tcp://127.0.0.1:1", "concat:a|b",
)  # fmt: skip


PACKED = zipfile.ZIP_DEFLATED


class _Evil:
    def __reduce__(self):
        return eval, ("1/0",)


def write_files(folder: Path) -> list[Path]:
    """Files that are not what they are taken for, one of each kind; a folder and a missing one too."""
    folder.mkdir()
    pair = np.zeros((2, 2), np.float32)
    contents: dict[str, bytes] = {
        "empty": b"",
        "blank.txt": b"\n \n\n",
        "five.json": b"5",
        "null.json": b"null",
        "list.json": b"[1, [2, {}]]",
        "text.json": b'"text"',
        "cut.json": b'{"qid": "1", "que',
        "nested.json": b"[" * 100_000,
        "digits.json": b'{"qid": ' + b"9" * 5000 + b"}",
        "odd.jsonl": b'{"qid": null, "query": 5, "vid": [], "duration": NaN, "relevant_windows": {"a": 1}}\n',
        "huge.jsonl": b'{"qid": 1, "query": "q", "vid": "r", "duration": 1e999, "relevant_windows": []}\n',
        "windows.jsonl": b'{"qid": "1", "query": "q", "vid": "r", "duration": 9, "relevant_windows": [3]}\n',
        "latin.csv": "file_name,caption_1\ncafé.wav,é\n".encode("latin-1"),
        "broken.yml": b"a: [\n",
        "twice.yml": b"system: S1\nsystem: S8\n",
        "deep.yml": b"[" * 5000,
        "alias.yml": b"&a [*a]\n",
        "object.yml": b"!!python/object/apply:os.system [id]\n",
        "list.yml": b"- 1\n",
        "infinite.yml": b"system: S1\nfeatures: {row_s: .inf}\n",
        "bytes.yml": b"\xff\xfe\x00",
        "zeros.bin": bytes(4096),
        "random.bin": np.random.default_rng(0).bytes(4096),
        "pickle.pkl": pickle.dumps({"model": _Evil()}),
        "plain.pkl": pickle.dumps([1, 2]),
        "sound.wav": b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + bytes(16) + b"data" + bytes(64),
        "html.pt": b"<!DOCTYPE html><html>404</html>",
        "flipped.jsonl.gz": _flipped(gzip.compress(b'{"qid": "1"}\n' * 500)),
        "cut.jsonl.gz": gzip.compress(b'{"qid": "1"}\n' * 500)[:-12],
        "text.jsonl.gz": b"no gzip",
        "header.npz": _zipped({"features.npy": _npy_header((1 << 24, 1024))}),
        "negative.npz": _zipped({"features.npy": _npy_header((-1, 4)) + bytes(64)}),
        "bomb.npz": _zipped({"features.npy": _npy_header((1 << 16, 512)) + bytes(1 << 27)}, PACKED),
        "text.npz": _zipped({"features.npy": b"no array", "made_by.npy": b""}),
        "objects.npz": _saved(features=np.array([{}, None], dtype=object)),
        "note.npz": _saved(features=pair, made_by=np.array('{"encoder": ["["], "windows": 5}')),
        "list_note.npz": _saved(features=pair, made_by=np.array("[1]")),
        "cut_note.npz": _saved(features=pair, made_by=np.array('{"encoder"')),
        "bare.npz": _npy_header((1 << 33, 8)),
        "empty.zip": _zipped({}),
    }  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save({"model": {"a": torch.zeros(2)}, "opt": {}}, folder / "other.pt")
    torch.save({"model": 5}, folder / "five.pt")
    torch.save({"format": "amr-checkpoint-1", "config": 3, "model": {}}, folder / "config.pt")
    torch.save({"format": "amr-checkpoint-1", "config": {}, "model": {"x": 1}}, folder / "tensors.pt")
    torch.save({"format": ["a"]}, folder / "format.pt")
    wide = {"model": {"hidden_dim": 65536, "feedforward_dim": 65536, "encoder_layers": 64}}
    content = {"format": "amr-checkpoint-1", "config": wide, "model": {}, "history": [], "training": None}
    torch.save(content, folder / "wide.pt")
    state = {"class_embed.weight": torch.zeros(()), "input_aud_proj.0.net.1.weight": torch.zeros(3)}
    torch.save({"model": state, "opt": [1]}, folder / "shapes.pt")
    with zipfile.ZipFile(folder / "other.pt") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    (folder / "deflated.pt").write_bytes(_zipped(packed, PACKED))
    (folder / "folder.pt").mkdir()
    return [*sorted(folder.iterdir()), folder / "missing"]


def _flipped(content: bytes) -> bytes:
    return content[:12] + bytes([content[12] ^ 0xFF]) + content[13:]


def _npy_header(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _saved(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def lines(*values: object) -> str:
    """JSON lines."""
    return "".join(json.dumps(value) + "\n" for value in values)
