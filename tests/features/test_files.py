"""A matrix mapped from its file is the one that is read from it, and only what is looked at is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clotho_long.core.errors import FeatureError
from clotho_long.features.files import AUDIO_KEY, map_features, read_features, write_features

ROWS = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32)
EARLIER = {"encoder": "a"}


def write_compressed(path: Path) -> None:
    np.savez_compressed(path, features=ROWS)


def write_by_columns(path: Path) -> None:
    np.savez(path, other=ROWS[:3], features=np.asfortranarray(ROWS))


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_features(path, ROWS, AUDIO_KEY, EARLIER),
        lambda path: write_features(path, ROWS, AUDIO_KEY, EARLIER, float16=True),
        lambda path: write_features(path, ROWS[:0], AUDIO_KEY, EARLIER),
        write_compressed,
        write_by_columns,
    ],
    ids=["float32", "float16", "no rows", "compressed", "by columns"],
)
def test_what_is_mapped_is_what_is_read(tmp_path, write):
    write(tmp_path / "a.npz")
    mapped = map_features(tmp_path / "a.npz", AUDIO_KEY)
    read, _ = read_features(tmp_path / "a.npz", AUDIO_KEY)
    assert mapped.dtype == read.dtype
    assert np.array_equal(mapped, read)


def test_damage_elsewhere_is_not_looked_at(tmp_path):
    file, rows = tmp_path / "a.npz", np.tile(ROWS, (100, 1))
    rows[3000] = np.arange(7)
    write_features(file, rows, AUDIO_KEY, EARLIER)
    content = bytearray(file.read_bytes())
    content[bytes(content).index(rows[3000].tobytes())] ^= 1
    file.write_bytes(content)
    mapped = map_features(file, AUDIO_KEY)
    assert np.array_equal(mapped[:3000], rows[:3000])
    assert not np.array_equal(mapped[3000], rows[3000])
    with pytest.raises(FeatureError, match="is not a readable npz file"):
        read_features(file, AUDIO_KEY)


def test_a_file_that_is_cut_or_holds_no_matrix_is_not_mapped(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, features=ROWS[0])
    with pytest.raises(FeatureError, match=r"`features` has shape \(7,\), not \(rows, dim\)"):
        map_features(file, AUDIO_KEY)
    write_features(file, ROWS, AUDIO_KEY, EARLIER)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(FeatureError, match="is not a readable npz file"):
        map_features(file, AUDIO_KEY)
