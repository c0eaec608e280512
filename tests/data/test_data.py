from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from amr_model.config import ExperimentConfig, system
from amr_model.data.collate import collate, padded
from amr_model.data.sets import RetrievalSet, negative_index, read_annotations
from amr_model.public.presets import compat_lighthouse
from amr_model.tensors import NO_NEGATIVE
from clotho_long.core.errors import ClothoLongError, FeatureError, ManifestError
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file
from tests.retrieval_builders import (
    CASTELLA,
    GOLDEN,
    annotation,
    make_features,
    make_query,
    write_corpus,
    write_jsonl,
)


def make_config(
    base: ExperimentConfig | None = None, *, audio_dim=6, text_dim=6, features=None, **targets
) -> ExperimentConfig:
    base = base or system("S4")
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, audio_dim=audio_dim, text_dim=text_dim),
        features=dataclasses.replace(base.features, **(features or {})),
        targets=dataclasses.replace(base.targets, **targets),
    )


def make_set(queries, config=None, *, num_rows=20) -> RetrievalSet:
    audio = {query.recording_id: make_features(num_rows, seed=1) for query in queries}
    text = {query.qid: make_features(3, seed=2) for query in queries}
    return RetrievalSet(queries, audio, text, config or make_config())


def test_golden_batch_is_the_reference_s_to_the_last_bit():
    golden = np.load(GOLDEN / "dataset.npz")
    facts = json.loads((GOLDEN / "dataset.json").read_text())
    queries = [
        make_query(row["qid"], row["relevant_windows"], recording_id=row["vid"], duration_s=row["duration"])
        for row in facts["rows"]
    ]
    config = make_config(
        compat_lighthouse("qd_detr"),
        audio_dim=14,
        text_dim=11,
        features={"audio_max": facts["max_audio"], "text_max": facts["max_text"]},
    )
    count = len(queries)
    data = RetrievalSet(
        queries,
        {f"v{at}": golden[f"raw/audio/{at}"] for at in range(count)},
        {f"q{at}": golden[f"raw/text/{at}"] for at in range(count)},
        config,
    )
    batch = data.batch(np.arange(count))
    for name, ours, mask in (
        ("audio_feat", batch.audio, batch.audio_mask),
        ("query_feat", batch.text, batch.text_mask),
        ("video_feat", batch.tef, batch.audio_mask),
    ):
        np.testing.assert_array_equal(ours.numpy(), golden[f"batch/{name}"])
        np.testing.assert_array_equal(mask.numpy(), golden[f"batch/{name}_mask"].astype(bool))
    targets = data.draw_targets(0, 0)
    for at in range(count):
        spans = targets.spans_cxw[at][targets.spans_mask[at]].numpy()
        expected = golden[f"item/{at}/span_labels"]
        rows = len(golden[f"item/{at}/saliency_all_labels"])
        assert len(spans) == len(expected)
        if len(queries[at].moments) <= 5:  # otherwise five of them, drawn by another generator
            np.testing.assert_array_equal(spans, expected)
            np.testing.assert_array_equal(
                targets.saliency[at, :rows].numpy(), golden[f"item/{at}/saliency_all_labels"]
            )
        else:
            rows = [(m.onset_s, m.offset_s) for m in queries[at].moments]
            all_spans = {(round((a + b) / 40, 4), round((b - a) / 20, 4)) for a, b in rows}
            assert {(round(float(c), 4), round(float(w), 4)) for c, w in spans} <= all_spans


def test_batches_are_padded_with_zeros_and_masked(tmp_path):
    lines = [annotation("a"), annotation("b", vid="r2", duration=7)]
    data = RetrievalSet.load(*write_corpus(tmp_path, lines), make_config())
    batch = data.batch(np.array([1, 0]))
    assert batch.audio.shape == (2, 20, 6)
    assert batch.audio_mask.sum(dim=1).tolist() == [7, 20]
    assert not batch.audio[0, 7:].any()
    assert not batch.tef[0, 7:].any()
    torch.testing.assert_close(batch.audio[0, :7].norm(dim=1), torch.ones(7), atol=1e-4, rtol=0)
    assert batch.tef[0, 6].tolist() == pytest.approx([6 / 7, 1.0])
    assert batch.qids == ("b", "a")


def test_an_item_is_the_same_in_every_batch(tmp_path):
    lines = [annotation(f"q{at}", vid=f"r{at}", duration=5 + 3 * at) for at in range(5)]
    data = RetrievalSet.load(*write_corpus(tmp_path, lines), make_config())
    alone, together = data.batch(np.array([1])), data.batch(np.array([4, 1, 0]))
    rows = alone.audio.shape[1]
    assert (together.audio[1, :rows] == alone.audio[0]).all()
    assert (together.tef[1, :rows] == alone.tef[0]).all()
    targets = data.draw_targets(0, 0)
    one, three = data.batch_targets(targets, np.array([1])), data.batch_targets(targets, np.array([4, 1, 0]))
    assert three.saliency.shape == (3, 17)
    assert (three.saliency[1, :rows] == one.saliency[0]).all()
    assert (three.spans_cxw[1] == one.spans_cxw[0]).all()


def test_a_set_larger_than_the_memory_gives_the_same_batches_from_disk(tmp_path, monkeypatch):
    lines = [annotation(f"q{at}", vid=f"r{at}", duration=5 + 3 * at) for at in range(5)]
    corpus = write_corpus(tmp_path, lines)
    in_memory = RetrievalSet.load(*corpus, make_config()).batch(np.array([4, 1, 0]))
    monkeypatch.setattr("amr_model.data.rows.HOST_SHARE", 0.0)
    from_disk = RetrievalSet.load(*corpus, make_config()).batch(np.array([4, 1, 0]))
    for name in ("audio", "text", "audio_mask", "text_mask", "tef"):
        assert torch.equal(getattr(in_memory, name), getattr(from_disk, name))


@pytest.mark.parametrize("by_length", [False, True])
def test_epochs_are_complete_deterministic_and_different(by_length):
    queries = [make_query(f"q{at}", recording_id=f"r{at % 40}") for at in range(100)]
    data = make_set(queries)

    def batches(epoch, seed=1):
        return [
            tuple(b) for b in data.epoch_batches(batch_size=32, seed=seed, epoch=epoch, by_length=by_length)
        ]

    assert sorted(index for batch in batches(0) for index in batch) == list(range(100))
    assert sorted(map(len, batches(0))) == [4, 32, 32, 32]
    assert batches(0) == batches(0)
    assert batches(0) != batches(1)
    assert batches(0) != batches(0, seed=2)


def test_batches_by_length_pad_less():
    lengths = np.random.default_rng(0).integers(20, 300, 400)
    queries = [make_query(f"q{at}", recording_id=f"r{at}") for at in range(400)]
    audio = {f"r{at}": make_features(int(rows)) for at, rows in enumerate(lengths)}
    data = RetrievalSet(queries, audio, {q.qid: make_features(3) for q in queries}, make_config())

    def padded(by_length):
        batches = data.epoch_batches(batch_size=32, seed=0, epoch=0, by_length=by_length)
        return sum(data.num_rows[batch].max() * len(batch) for batch in batches)

    assert padded(True) < 0.8 * padded(False)


def test_negatives_have_another_recording_and_another_caption():
    queries = [
        make_query("a", recording_id="r1", query="a dog barks"),
        make_query("b", recording_id="r1", query="rain"),
        make_query("c", recording_id="r2", query="A dog barks "),
        make_query("d", recording_id="r3", query="wind"),
    ]
    data = make_set(queries)
    assert data.batch(np.arange(4)).negative_index.tolist() == [3, 2, 3, 0]
    assert data.batch(np.array([0, 1])).negative_index.tolist() == [NO_NEGATIVE, NO_NEGATIVE]
    assert data.batch(np.array([0])).negative_index.tolist() == [NO_NEGATIVE]
    assert data.batch(np.arange(3)).same_recording.tolist() == [
        [True, True, False],
        [True, True, False],
        [False, False, True],
    ]
    reference = make_set(queries, make_config(neg_pair="next"))
    assert reference.batch(np.arange(4)).negative_index.tolist() == [1, 2, 3, 0]
    assert reference.batch(np.array([0])).negative_index.tolist() == [0]


@given(st.integers(1, 7), st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_the_next_allowed_item_is_taken(size, seed):
    other = np.random.default_rng(seed).random((size, size)) < 0.4
    np.fill_diagonal(other, False)
    for item, chosen in enumerate(negative_index(other)):
        following = [(item + step) % size for step in range(1, size)]
        assert chosen == next((j for j in following if other[item, j]), NO_NEGATIVE)


def test_the_report_says_how_features_and_annotations_disagree(tmp_path):
    lines = [
        annotation("a", relevant_windows=[[18, 21], [19, 4800], [7, 7]]),
        annotation("b", vid="r2", relevant_windows=[]),
        annotation("c", vid="r3", duration=350),
    ]
    corpus = write_corpus(tmp_path, lines, num_rows={"r2": 21}, num_tokens=500)
    report = RetrievalSet.load(*corpus, make_config()).report
    assert report.lines() == [
        "3 queries, 4 moments, 3 recordings",
        "1 queries without a moment: all background",
        "1 recordings whose features are not as long as annotated (largest difference +1.00 s)",
        "1 recordings longer than audio_max rows (training hears their start, answers come from all of them)",
        "3 queries cut to text_max tokens",
        "2 moments end after the recording",
        "2 moments end after the features",
        "1 moments dropped, nothing of them is left",
    ]


def test_a_query_of_500_words_is_cut_or_kept_whole_as_set(tmp_path):
    corpus = write_corpus(tmp_path, [annotation(query="word " * 500)], num_tokens=500)
    assert RetrievalSet.load(*corpus, make_config()).batch(np.array([0])).text.shape == (1, 32, 6)
    whole = RetrievalSet.load(*corpus, make_config(features={"text_max": None})).batch(np.array([0]))
    assert whole.text.shape == (1, 500, 6)


def test_published_labels_load_with_the_faults_that_are_known():
    queries = read_annotations(CASTELLA / "castella_train_release.jsonl")
    audio = {q.recording_id: np.zeros((int(q.duration_s), 1), dtype=np.float32) for q in queries}
    text = {q.qid: np.zeros((1, 1), dtype=np.float32) for q in queries}
    report = RetrievalSet(queries, audio, text, make_config(audio_dim=1, text_dim=1)).report
    assert (report.queries, report.recordings, report.moments) == (2182, 876, 6157)
    assert report.moment_counts.past_recording == 162
    assert report.moment_counts.dropped == 11


# --- bad input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qid": "q1"}, r"train\.jsonl:2: qid q1 occurs twice \(first in .*train\.jsonl:1\); keep one line"),
        ({"relevant_windows": [[9, 4]]}, r"train\.jsonl:2: window \[9, 4\] ends before it starts"),
        ({"relevant_windows": [[-1, 4]]}, r"train\.jsonl:2: window \[-1, 4\] .* starts before 0"),
        (
            {"relevant_windows": [[1]]},
            r"train\.jsonl:2: field relevant_windows: \[1\] is not \[onset, offset\]",
        ),
        ({"duration": 0}, r"train\.jsonl:2: duration 0 s is not positive"),
        ({"duration": "long"}, r"train\.jsonl:2: field duration: 'long' is not a number"),
        ({"duration": float("inf")}, r"train\.jsonl:2: field duration: inf is not a finite number"),
        ({"duration": 1e300}, r"train\.jsonl:2: duration 1e\+300 s is not a number of seconds up to"),
        ({"duration": True}, r"train\.jsonl:2: field duration: True is not a number"),
        ({"qid": None}, r"train\.jsonl:2: field qid: None is not a text or a whole number"),
        ({"vid": 5}, r"train\.jsonl:2: field vid: 5 is not a text"),
        ({"query": None}, r"train\.jsonl:2: field query"),
    ],
)
def test_a_bad_annotation_names_its_line(tmp_path, changes, message):
    path = write_jsonl(tmp_path / "train.jsonl", [annotation(), {**annotation("q2"), **changes}])
    with pytest.raises(ManifestError, match=message):
        read_annotations(path)


def test_an_empty_training_set_is_an_error(tmp_path):
    (tmp_path / "train.jsonl").write_text("\n")
    with pytest.raises(ManifestError, match=r"train\.jsonl: holds no query; check"):
        read_annotations(tmp_path / "train.jsonl")


def test_missing_feature_files_are_named(tmp_path):
    annotations, features = write_corpus(tmp_path, [annotation(), annotation("q2", vid="r2")])
    text_file(features, "q2").unlink()
    with pytest.raises(FeatureError, match=r"qidq2\.npz: no such feature file; run"):
        RetrievalSet.load(annotations, features, make_config())
    audio_file(features, "r2").unlink()
    with pytest.raises(FeatureError, match=r"r2\.npz: no such feature file; run"):
        RetrievalSet.load(annotations, features, make_config())


def test_features_of_another_width_than_the_model_are_an_error(tmp_path):
    corpus = write_corpus(tmp_path, [annotation()])
    with pytest.raises(FeatureError, match=r"audio features are 6 wide, the model reads 768; extract them"):
        RetrievalSet.load(*corpus, system("S1"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((20, 6), np.nan, dtype=np.float32), r"r2\.npz: .*(finite|NaN)"),
        (make_features(20, 5), r"r2\.npz: .*5"),
        (np.zeros((0, 6), dtype=np.float32), r"r2\.npz: .*empty"),
    ],
)
def test_bad_features_name_their_file(tmp_path, rows, message):
    annotations, features = write_corpus(tmp_path, [annotation(), annotation("q2", vid="r2")])
    np.savez(audio_file(features, "r2"), **{AUDIO_KEY: rows})
    with pytest.raises(ClothoLongError, match=message):
        RetrievalSet.load(annotations, features, make_config())


def test_a_truncated_feature_file_is_named(tmp_path):
    annotations, features = write_corpus(tmp_path, [annotation()])
    path = text_file(features, "q1")
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FeatureError, match=rf"qidq1\.npz: .*{TEXT_KEY}|qidq1\.npz: is not a readable npz"):
        RetrievalSet.load(annotations, features, make_config())


def test_collated_matrices_are_what_a_set_gives():
    config = make_config()
    queries = [make_query(f"q{at}", recording_id=f"r{at}", duration_s=10.0 + at) for at in range(3)]
    audio = {f"r{at}": make_features(10 + at, seed=at) for at in range(3)}
    text = {f"q{at}": make_features(2 + at, seed=10 + at) for at in range(3)}
    data = RetrievalSet(queries, audio, text, config)
    whole = [data.whole(at) for at in range(3)]
    ours = collate(
        padded([rows for rows, _ in whole], data.device), padded([rows for _, rows in whole], data.device)
    )
    theirs = data.batch(np.arange(3))
    for name in ("audio", "audio_mask", "tef", "text", "text_mask", "same_recording"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert (ours.negative_index == -1).all()


def test_the_whole_of_a_recording_is_there_although_training_hears_its_start():
    config = make_config()
    config = dataclasses.replace(config, features=dataclasses.replace(config.features, audio_max=4))
    rows = make_features(9)
    data = RetrievalSet([make_query("q1")], {"r1": rows}, {"q1": make_features(3)}, config)
    assert (data.num_rows.tolist(), data.full_num_rows.tolist()) == ([4], [9])
    assert len(data.whole(0)[0]) == 9
    assert torch.equal(torch.from_numpy(data.whole(0)[0][:4]), data.batch(np.array([0])).audio[0])


def test_queries_asked_elsewhere_are_asked_where_their_caption_is_not_heard():
    captions = ["a dog", "A dog ", "rain", "rain", "a bell"]
    places = ["r0", "r1", "r1", "r2", "r2"]
    queries = [
        make_query(f"q{at}", query=caption, recording_id=place, duration_s=float(5 + int(place[1])))
        for at, (caption, place) in enumerate(zip(captions, places, strict=True))
    ]
    audio = {f"r{at}": make_features(5 + at, seed=at) for at in range(3)}
    text = {f"q{at}": make_features(2 + at, seed=10 + at) for at in range(5)}
    data = RetrievalSet(queries, audio, text, make_config())
    seen = set()
    for seed in range(20):
        other = data.asked_elsewhere(np.random.default_rng(seed))
        assert [query.qid for query in other.queries] == [f"q{at}" for at in range(5)]
        asked = [query.recording_id for query in other.queries]
        assert asked[:4] == ["r2", "r2", "r0", "r0"]
        assert asked[4] in ("r0", "r1")
        seen.add(asked[4])
        assert not any(query.moments for query in other.queries)
        assert other.num_rows.tolist() == [int(query.duration_s) for query in other.queries]
        batch, own = other.batch(np.arange(5)), data.batch(np.arange(5))
        assert torch.equal(batch.text, own.text)
        assert torch.equal(batch.audio[0], own.audio[3])
    assert seen == {"r0", "r1"}
    assert data.queries[0].moments, "the set itself is as it was"


CAPTIONS = ["a dog", "A dog ", "rain", "rain", "a bell", "wind"]
PLACES = ["r0", "r1", "r1", "r2", "r2", "r3"]


def make_absent_set(share: float, *, order: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> RetrievalSet:
    """Queries of four recordings, of which two pairs share a caption."""
    queries = [
        make_query(
            f"q{at}",
            [[1, 3]],
            query=CAPTIONS[at],
            recording_id=PLACES[at],
            duration_s=5.0 + int(PLACES[at][1]),
        )
        for at in order
    ]
    audio = {f"r{at}": make_features(5 + at, seed=at) for at in range(4)}
    text = {f"q{at}": make_features(2 + at, seed=10 + at) for at in range(6)}
    return RetrievalSet(queries, audio, text, make_config(absent_share=share))


def drawn(data: RetrievalSet, epoch: int) -> dict[str, tuple[str, bool]]:
    """Where each query is asked in an epoch, and whether in vain."""
    batch = data.in_epoch(3, epoch).batch(np.arange(len(data)))
    assert batch.absent is not None
    return dict(zip(batch.qids, zip(batch.recording_ids, batch.absent.tolist(), strict=True), strict=True))


def test_absent_queries_are_asked_where_their_caption_does_not_stand():
    data, asked = make_absent_set(1.0), []
    for epoch in range(30):
        view = data.in_epoch(3, epoch)
        batch, targets = view.batch(np.arange(6)), view.draw_targets(3, epoch)
        assert batch.absent.all()
        for caption, place in zip(CAPTIONS, batch.recording_ids, strict=True):
            holders = {
                p
                for c, p in zip(CAPTIONS, PLACES, strict=True)
                if c.strip().lower() == caption.strip().lower()
            }
            assert place not in holders
        assert batch.audio_mask.sum(dim=1).tolist() == [5 + int(place[1]) for place in batch.recording_ids]
        assert not targets.spans_mask.any()
        assert not targets.saliency.any()
        assert not targets.saliency_pairs_mask.any()
        assert not targets.similarity.any()
        cut = view.batch_targets(targets, np.arange(6))
        assert cut.saliency.shape[1] == batch.audio.shape[1]
        asked.append(batch.recording_ids)
    assert {row[4] for row in asked} == {"r0", "r1", "r3"}, "every recording without the bell has its turn"
    assert data.batch(np.arange(6)).recording_ids == tuple(PLACES), "the set itself is as it was"


def test_a_share_of_the_queries_is_absent_and_other_ones_in_each_epoch():
    data = make_absent_set(0.4)
    shares = np.array([[absent for _, absent in drawn(data, epoch).values()] for epoch in range(200)])
    assert shares.mean() == pytest.approx(0.4, abs=0.05)
    assert 0 < shares.mean(axis=0).min() < shares.mean(axis=0).max() < 1
    view = data.in_epoch(3, 0)
    absent, targets = view.batch(np.arange(6)).absent, view.draw_targets(3, 0)
    own = data.draw_targets(3, 0)
    assert absent.any()
    assert not absent.all()
    for name in ("spans_cxw", "saliency", "similarity", "saliency_positives"):
        assert torch.equal(getattr(targets, name)[~absent], getattr(own, name)[~absent]), name


def test_who_is_absent_depends_on_neither_the_order_nor_the_batch():
    data, other = make_absent_set(0.5), make_absent_set(0.5, order=(0, 1, 3, 2, 4, 5))
    for epoch in range(10):
        whole = drawn(data, epoch)
        assert whole == drawn(other, epoch)
        view = data.in_epoch(3, epoch)
        for index in range(6):
            batch = view.batch(np.array([index]))
            assert (batch.recording_ids[0], bool(batch.absent[0])) == whole[f"q{index}"]


def test_what_a_recording_holds_is_no_negative_of_it_although_it_is_asked_elsewhere():
    data = make_absent_set(0.5)
    for epoch in range(30):
        batch = data.in_epoch(3, epoch).batch(np.arange(6))
        for item, negative in enumerate(batch.negative_index.tolist()):
            place = batch.recording_ids[item]
            if negative >= 0:
                assert PLACES[negative] != place
                assert batch.recording_ids[negative] != place
                assert CAPTIONS[negative].strip().lower() != CAPTIONS[item].strip().lower()
            for other in range(6):
                if PLACES[other] == place:
                    assert batch.same_recording[item, other]


def test_without_a_share_a_set_trains_as_it_is():
    data = make_absent_set(0.0)
    assert data.in_epoch(3, 0) is data
    assert data.batch(np.arange(6)).absent is None


def test_a_set_of_one_recording_has_no_elsewhere():
    data = RetrievalSet([make_query()], {"r1": make_features(9)}, {"q1": make_features(3)}, make_config())
    assert data.asked_elsewhere(np.random.default_rng(0)) is None
