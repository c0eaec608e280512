"""Several corpora in one set: ids apart, recordings shared where their features are, draws by weight."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from amr_model.config import ExperimentConfig, system
from amr_model.data.corpora import CorpusFiles
from amr_model.data.sets import RetrievalSet
from amr_model.data.sources import fingerprint_queries, fingerprint_rows
from clotho_long.core.errors import FeatureError
from clotho_long.core.seeds import generator
from clotho_long.core.settings import override
from clotho_long.features.files import AUDIO_KEY, audio_file, write_features
from tests.retrieval_builders import annotation, make_features, make_query, write_corpus

CONFIG: ExperimentConfig = override(system("S1"), ["model.audio_dim=6", "model.text_dim=6"])


def corpora(folder: Path, *weights: float) -> list[CorpusFiles]:
    """Corpora of 4, 5, ... queries, all with the same qids and recording ids."""
    found = []
    for number, weight in enumerate(weights):
        lines = [
            annotation(f"q{at}", vid=f"r{at % 2}", query=f"sound {at + 10 * number}", duration=20 + number)
            for at in range(4 + number)
        ]
        annotations, features = write_corpus(folder / str(number), lines)
        found.append(CorpusFiles(annotations=annotations, features=features, weight=weight))
    return found


def drawn(data: RetrievalSet, epoch: int, batch_size: int = 4) -> list[int]:
    return np.concatenate(data.epoch_batches(batch_size=batch_size, seed=5, epoch=epoch)).tolist()


def test_equal_ids_of_two_corpora_are_two_queries_and_two_recordings(tmp_path: Path) -> None:
    data = RetrievalSet.load_all(corpora(tmp_path, 1, 1), CONFIG)
    assert [query.qid for query in data.queries[:5]] == ["1:q0", "1:q1", "1:q2", "1:q3", "2:q0"]
    assert data.report.recordings == 4
    assert data.num_rows.tolist() == [20] * 4 + [21] * 5
    batch = data.batch(np.array([0, 2, 4]))
    assert batch.same_recording.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_each_query_keeps_its_own_features(tmp_path: Path) -> None:
    files = corpora(tmp_path, 1, 1)
    both = RetrievalSet.load_all(files, CONFIG)
    for number, start in ((0, 0), (1, 4)):
        alone = RetrievalSet.load(files[number].annotations, files[number].features, CONFIG).batch(
            np.arange(4)
        )
        together = both.batch(np.arange(start, start + 4))
        assert (alone.audio == together.audio).all()
        assert (alone.text == together.text).all()


def test_annotations_of_one_folder_of_features_share_its_recordings(tmp_path: Path) -> None:
    (one,) = corpora(tmp_path, 1)
    other = tmp_path / "other.jsonl"
    other.write_bytes(one.annotations.read_bytes())
    data = RetrievalSet.load_all([one, dataclasses.replace(one, annotations=other)], CONFIG)
    assert len(data) == 8
    assert data.report.recordings == 2


def test_one_corpus_is_drawn_as_it_always_was(tmp_path: Path) -> None:
    """Its order decides the weights of every run made so far."""
    (one,) = corpora(tmp_path, 1)
    data = RetrievalSet.load(one.annotations, one.features, CONFIG)
    assert [query.qid for query in data.queries] == ["q0", "q1", "q2", "q3"]
    for epoch in range(3):
        assert drawn(data, epoch) == generator(5, "batches", str(epoch)).permutation(4).tolist()


@pytest.mark.parametrize(("weights", "counts"), [((1, 1), (4, 5)), ((2, 0.5), (8, 2)), ((1.5, 0.01), (6, 1))])
def test_an_epoch_draws_each_corpus_by_its_weight(tmp_path: Path, weights, counts) -> None:
    data = RetrievalSet.load_all(corpora(tmp_path, *weights), CONFIG)
    assert data.queries_an_epoch == sum(counts)
    for epoch in range(3):
        indices = drawn(data, epoch)
        assert (sum(i < 4 for i in indices), sum(i >= 4 for i in indices)) == counts
        assert max(Counter(i for i in indices if i < 4).values()) == np.ceil(weights[0])
        assert indices == drawn(data, epoch)  # by seed and epoch alone


def test_the_rest_of_a_weight_falls_to_other_queries_in_each_epoch(tmp_path: Path) -> None:
    data = RetrievalSet.load_all(corpora(tmp_path, 0.5, 1), CONFIG)
    halves = [frozenset(i for i in drawn(data, epoch) if i < 4) for epoch in range(12)]
    assert len(set(halves)) > 1
    assert set().union(*halves) == {0, 1, 2, 3}


def test_each_corpus_is_checked_for_what_made_its_features(tmp_path: Path) -> None:
    files = corpora(tmp_path, 1, 1)
    for recording in ("r0", "r1"):
        made_by = {"encoder": {"name": "msclap-2023"}, "windows": "centred"}
        write_features(audio_file(files[1].features, recording), make_features(21), AUDIO_KEY, made_by)
    with pytest.raises(FeatureError, match=r"1/features: the features were made with windows centred"):
        RetrievalSet.load_all(files, CONFIG)


def test_sources_name_each_corpus_by_content(tmp_path: Path) -> None:
    files = corpora(tmp_path, 1, 2)
    sources = RetrievalSet.load_all(files, CONFIG).sources
    assert [source.weight for source in sources] == [1, 2]
    assert len({source.queries_fingerprint for source in sources}) == 2
    moved = corpora(tmp_path / "elsewhere", 1, 2)
    again = RetrievalSet.load_all(moved, CONFIG).sources
    assert [source.features_fingerprint for source in again] == [s.features_fingerprint for s in sources]


def test_fingerprints_see_a_moment_and_a_value() -> None:
    queries = [make_query("a"), make_query("b")]
    other = [make_query("a"), make_query("b", [(2.0, 5.5)])]
    assert fingerprint_queries(queries) != fingerprint_queries(other)
    rows = {"r1": make_features(40)}
    text = {"a": make_features(3)}
    before = fingerprint_rows(rows, ["r1"], text, ["a"])
    assert before == fingerprint_rows(dict(rows), ["r1", "r1"], text, ["a"])
    rows["r1"] = make_features(40, seed=1)
    assert fingerprint_rows(rows, ["r1"], text, ["a"]) != before
