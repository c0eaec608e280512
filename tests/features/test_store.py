"""The packed store gives exactly what the npz files hold, and notices when they change."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clotho_long.core.errors import FeatureError
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file, write_features
from clotho_long.features.store import FeatureStore, pack


def rows_of(seed: int, *, rows: int = 3, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def make_audio(features_dir: Path, **lengths: int) -> None:
    for seed, (name, rows) in enumerate(lengths.items()):
        write_features(audio_file(features_dir, name), rows_of(seed, rows=rows), AUDIO_KEY, {"encoder": "a"})


def write_foreign(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def packed_files(features_dir: Path) -> list[str]:
    return sorted(path.name for path in (features_dir / "packed").iterdir())


@given(
    lengths=st.dictionaries(
        st.from_regex(r"[\w][\w .,'é-]{0,20}", fullmatch=True), st.integers(1, 5), min_size=1
    )
)
@settings(max_examples=25, deadline=None)
def test_store_returns_the_rows_of_every_file(tmp_path_factory, lengths):
    features_dir = tmp_path_factory.mktemp("features")
    for seed, (name, rows) in enumerate(lengths.items()):
        write_foreign(audio_file(features_dir, name), features=rows_of(seed, rows=rows))
    store = FeatureStore.open(features_dir, kind="audio")
    assert store.lengths == lengths
    for seed, (name, rows) in enumerate(lengths.items()):
        np.testing.assert_array_equal(store[name], rows_of(seed, rows=rows))


def test_text_is_found_by_qid_and_other_files_are_left_alone(tmp_path):
    write_features(text_file(tmp_path, "00012"), rows_of(1), TEXT_KEY, {})
    write_foreign(tmp_path / "clap_text" / "vocabulary.npz", words=np.zeros(3))
    store = FeatureStore.open(tmp_path, kind="text")
    assert list(store.lengths) == ["00012"]
    assert "00012" in store
    assert "00013" not in store
    assert store.dim == 8


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_other_float_types_are_cast_to_float32(tmp_path, dtype):
    stored = rows_of(1).astype(dtype)
    write_foreign(audio_file(tmp_path, "r"), features=stored)
    rows = FeatureStore.open(tmp_path, kind="audio")["r"]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, stored.astype(np.float32))


def test_second_opening_packs_nothing(tmp_path):
    make_audio(tmp_path, a=2, b=3)
    index = pack(tmp_path, kind="audio")
    before = {path: path.stat().st_mtime_ns for path in index.parent.iterdir()}
    FeatureStore.open(tmp_path, kind="audio", ids=["b"])
    assert {path: path.stat().st_mtime_ns for path in index.parent.iterdir()} == before


def test_changed_file_is_packed_again_and_the_old_matrix_goes(tmp_path):
    make_audio(tmp_path, a=2, b=3)
    FeatureStore.open(tmp_path, kind="audio")
    write_features(audio_file(tmp_path, "a"), rows_of(9, rows=2), AUDIO_KEY, {"encoder": "a"})
    np.testing.assert_array_equal(FeatureStore.open(tmp_path, kind="audio")["a"], rows_of(9, rows=2))
    assert len(packed_files(tmp_path)) == 2


def test_added_and_removed_files_are_noticed(tmp_path):
    make_audio(tmp_path, a=2, b=3)
    FeatureStore.open(tmp_path, kind="audio")
    audio_file(tmp_path, "a").unlink()
    assert list(FeatureStore.open(tmp_path, kind="audio").lengths) == ["b"]
    make_audio(tmp_path, c=4)
    assert list(FeatureStore.open(tmp_path, kind="audio").lengths) == ["b", "c"]


def test_truncated_matrix_is_packed_again(tmp_path):
    make_audio(tmp_path, a=2)
    FeatureStore.open(tmp_path, kind="audio")
    (matrix,) = (tmp_path / "packed").glob("*.f32")
    matrix.write_bytes(matrix.read_bytes()[:-4])
    np.testing.assert_array_equal(FeatureStore.open(tmp_path, kind="audio")["a"], rows_of(0, rows=2))


def test_subset_packs_only_what_is_asked_for(tmp_path):
    make_audio(tmp_path, a=2, b=3, c=4)
    audio_file(tmp_path, "c").write_bytes(b"not an npz")
    store = FeatureStore.open(tmp_path, kind="audio", ids=["b", "a", "b"])
    assert store.lengths == {"a": 2, "b": 3}
    assert len(store) == 2


def test_interrupted_packing_leaves_no_file(tmp_path):
    make_audio(tmp_path, a=2)
    audio_file(tmp_path, "b").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(FeatureError, match=r"b\.npz: is not a readable npz file"):
        FeatureStore.open(tmp_path, kind="audio")
    assert packed_files(tmp_path) == []


def test_half_written_feature_file_is_not_an_item(tmp_path):
    make_audio(tmp_path, a=2)
    (tmp_path / "clap" / ".b.0011.part.npz").write_bytes(b"half")
    assert list(FeatureStore.open(tmp_path, kind="audio").lengths) == ["a"]


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"features": np.full((2, 8), np.nan, np.float32)}, "not finite"),
        ({"features": np.full((2, 8), 1e300)}, "not finite"),
        ({"features": np.zeros((2, 7), np.float32)}, "is 7 wide, its neighbours 8"),
        ({"features": np.zeros((0, 8), np.float32)}, "is empty"),
        ({"features": np.zeros((2, 8), np.int64)}, "not floating point"),
        ({"features": np.zeros(8, np.float32)}, "not \\(rows, dim\\)"),
        ({"other": np.zeros((2, 8), np.float32)}, "but no `features`"),
    ],
)
def test_bad_file_is_named_with_what_is_wrong(tmp_path, arrays, problem):
    make_audio(tmp_path, a=2)
    write_foreign(audio_file(tmp_path, "bad"), **arrays)
    with pytest.raises(FeatureError, match=rf"bad\.npz: .*{problem}"):
        FeatureStore.open(tmp_path, kind="audio")


def test_two_encoders_in_one_folder_are_refused(tmp_path):
    write_features(audio_file(tmp_path, "a"), rows_of(1), AUDIO_KEY, {"encoder": {"name": "logmel"}})
    write_features(audio_file(tmp_path, "b"), rows_of(2), AUDIO_KEY, {"encoder": {"name": "msclap-2023"}})
    with pytest.raises(FeatureError, match=r"b\.npz: was made with another `encoder`"):
        FeatureStore.open(tmp_path, kind="audio")
    assert FeatureStore.open(tmp_path, kind="audio", ids=["b"]).made_by == {
        "encoder": {"name": "msclap-2023"}
    }


def test_missing_items_are_named(tmp_path):
    make_audio(tmp_path, a=2)
    with pytest.raises(FeatureError, match=r"b\.npz: no such feature file"):
        FeatureStore.open(tmp_path, kind="audio", ids=["a", "b"])
    with pytest.raises(FeatureError, match=r"no features of 'b'"):
        FeatureStore.open(tmp_path, kind="audio")["b"]
    with pytest.raises(FeatureError, match="cannot be listed"):
        FeatureStore.open(tmp_path / "nowhere", kind="audio")
    (tmp_path / "clap_text").mkdir()
    with pytest.raises(FeatureError, match="holds no feature files"):
        FeatureStore.open(tmp_path, kind="text")


def test_rows_cannot_be_written(tmp_path):
    make_audio(tmp_path, a=2)
    with pytest.raises(ValueError, match="read-only"):
        FeatureStore.open(tmp_path, kind="audio")["a"][0, 0] = 1.0


def test_pickled_store_is_a_path_and_not_its_content(tmp_path):
    make_audio(tmp_path, a=2000, b=3)
    store = FeatureStore.open(tmp_path, kind="audio", ids=["a"])
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled)["a"], store["a"])
    assert "b" not in pickle.loads(pickled)


def test_given_cache_folder_keeps_the_features_untouched(tmp_path):
    make_audio(tmp_path / "features", a=2)
    FeatureStore.open(tmp_path / "features", kind="audio", cache_dir=tmp_path / "cache")
    assert not (tmp_path / "features" / "packed").exists()
    assert len(list((tmp_path / "cache").rglob("*.f32"))) == 1


def test_folder_that_cannot_be_written_is_packed_in_the_users_cache(tmp_path, monkeypatch):
    make_audio(tmp_path / "features", a=2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # the tests may run as root, to whom every folder is writable
    real_access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != tmp_path / "features" and real_access(path, mode)
    )
    store = FeatureStore.open(tmp_path / "features", kind="audio")
    assert store.lengths == {"a": 2}
    assert not (tmp_path / "features" / "packed").exists()
    assert len(list((tmp_path / "cache").rglob("*.f32"))) == 1
