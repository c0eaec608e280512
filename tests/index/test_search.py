"""One ranking over a collection: two stages find what hearing everything finds."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas
import pytest
import torch

import amr_model
from amr_model.answer.run import STRETCH_ROWS, Asker
from amr_model.answer.stretches import VIEWS, stretch_starts, stretches_with
from amr_model.checkpoint import Checkpoint, save_checkpoint
from amr_model.config import system
from amr_model.index.catalog import VECTORS, Hearing
from amr_model.index.opening import open_index
from amr_model.index.search import PLACE_ROWS, Index, _of_near
from amr_model.index.update import update_index
from amr_model.index.vectors import VectorStore
from amr_model.public.networks import network_of
from clotho_long.core.errors import ConfigError, FeatureError, ManifestError
from clotho_long.core.settings import override
from clotho_long.core.work import Workers
from tests.index import standin
from tests.index.standin import BANDS, NAME, SixBands, write_sound

EVENTS = {  # recording -> band, first second, second after the last
    "a": [(1, 30, 36)],
    "b": [(2, 100, 104), (1, 150, 153)],
    "c": [(3, 5, 9)],
    "d": [],
}
SMALL = (
    "model.hidden_dim=16", "model.num_heads=2", "model.feedforward_dim=16", "model.encoder_layers=1",
    "model.decoder_layers=1", f"model.audio_dim={BANDS}", f"model.text_dim={BANDS}",
    "targets.stretch_rows=45", "inference.readout=curve",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        standin.install(patch)
        for at, (name, events) in enumerate(EVENTS.items()):
            write_sound(root / "walks" / f"{name}.wav", events, length_s=160, seed=at)
        for name in (NAME, "logmel"):
            update_index(root / name, [root / "walks"], Hearing(encoder=name), workers=Workers())
        for name, dim in ((NAME, BANDS), ("logmel", 768)):
            changed = (f"targets.encoder={name}", f"model.audio_dim={dim}", f"model.text_dim={dim}")
            config = override(system("S1"), (*SMALL, *changed))
            torch.manual_seed(3)
            weights = network_of(config.model).state_dict()
            save_checkpoint(root / f"{name}.pt", Checkpoint(config=config, model=weights))
        yield root


def found(ranking) -> list[tuple[str, float, float]]:
    return [(hit.recording.stem, *hit.moment[:2]) for hit in ranking.hits]


def test_without_a_checkpoint_similarity_answers(place):
    index = amr_model.open_index(place / NAME, device="cpu")
    table = index.search("band 1", min_score=0.5)
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["query", "recording", "onset_s", "offset_s", "score"]
    answers = {(path.rsplit("/", 1)[1], on, off) for path, on, off in table.iloc[:, 1:4].to_numpy().tolist()}
    assert answers == {("a.wav", 30.0, 36.0), ("b.wav", 150.0, 153.0)}
    assert table["score"].is_monotonic_decreasing
    assert index.search("band 4", min_score=0.5).empty, "nothing found is an answer"


@pytest.mark.parametrize("checkpoint", [None, f"{NAME}.pt"])
def test_a_search_that_may_listen_everywhere_is_exact(place, checkpoint):
    index = open_index(place / NAME, checkpoint=checkpoint and place / checkpoint, device="cpu")
    queries = ["band 1", "band 2", "band 3"]
    exact = index.rank(queries, exact=True, top=5)
    assert index.rank(queries, top=5, candidates=100) == exact
    assert all(ranking.hits for ranking in exact)


def test_without_a_shared_space_the_network_itself_says_where_to_listen(place):
    index = open_index(place / "logmel", checkpoint=place / "logmel.pt", device="cpu")
    assert index.rank(["a dog"], candidates=100) == index.rank(["a dog"], exact=True)
    with pytest.raises(ConfigError, match="has no space that sounds and sentences share"):
        open_index(place / "logmel", device="cpu").rank("a dog")


def test_many_queries_find_what_each_finds_alone(place):
    index = open_index(place / NAME, checkpoint=place / f"{NAME}.pt", device="cpu")
    queries = ["band 1", "band 2 of 3", "band 3"]
    together = index.rank(queries, candidates=3)
    for query, ranking in zip(queries, together, strict=True):
        assert found(index.rank(query, candidates=3)[0]) == found(ranking)


def test_only_the_stretches_around_candidates_are_heard(place, monkeypatch):
    asked = []
    outputs = Asker.outputs
    monkeypatch.setattr(
        Asker, "outputs", lambda self, batch: asked.append(len(batch.audio)) or outputs(self, batch)
    )
    index = open_index(place / NAME, checkpoint=place / f"{NAME}.pt", device="cpu")
    index.rank("band 3", exact=True)
    everything = sum(asked)
    asked.clear()
    index.rank("band 3", candidates=1)
    assert 0 < sum(asked) < everything / 4


@pytest.mark.parametrize("float16", [False, True])
def test_of_the_features_only_what_is_heard_is_read(place, tmp_path, monkeypatch, float16):
    hearing = Hearing(encoder=NAME, float16=float16)
    update_index(tmp_path / "index", [place / "walks"], hearing, workers=Workers())
    index = open_index(tmp_path / "index", checkpoint=place / f"{NAME}.pt", device="cpu")
    exact = index.rank("band 3", exact=True)
    monkeypatch.setattr("amr_model.index.catalog.read_features", None)
    assert index.rank("band 3", candidates=100) == exact
    assert open_index(tmp_path / "index", device="cpu").rank("band 3")[0].hits


def test_a_place_costs_as_many_stretches_as_hold_a_second():
    starts = stretch_starts(3600, STRETCH_ROWS)
    for first in range(STRETCH_ROWS, 3600 - STRETCH_ROWS, PLACE_ROWS):
        place = np.arange(first, first + PLACE_ROWS)
        assert len(stretches_with(starts, STRETCH_ROWS, place)) == VIEWS


def test_nothing_is_decoded_for_a_search(place, monkeypatch):
    index = open_index(place / NAME, device="cpu")
    SixBands.heard = 0
    monkeypatch.setattr("amr_model.answer.hearing.stream_mono", None)
    assert index.rank("band 3")[0].hits
    assert SixBands.heard == 0


@pytest.mark.parametrize("name", [NAME, "logmel"])
def test_a_sound_finds_what_sounds_like_it(place, tmp_path, name):
    sound = write_sound(tmp_path / "like.wav", [(2, 0, 3)], length_s=3, seed=50)
    ranking = open_index(place / name, device="cpu").like(sound)
    recording, onset_s, offset_s = found(ranking)[0]
    assert (recording, onset_s, offset_s) == ("b", 100.0, 104.0)


def test_an_open_index_answers_on_while_it_is_updated(place, tmp_path, monkeypatch):
    opened = []
    make = VectorStore.__init__
    monkeypatch.setattr(VectorStore, "__init__", lambda self, *at: opened.append(at) or make(self, *at))
    folder = tmp_path / "walks"
    write_sound(folder / "a.wav", [(1, 30, 36)], length_s=60)
    update_index(tmp_path / "index", [folder], Hearing(encoder=NAME), workers=Workers())
    opened.clear()
    index = open_index(tmp_path / "index", device="cpu")
    before = index.rank("band 1")
    assert before == index.rank("band 1")
    assert len(opened) == 1, "what a store read is remembered"
    write_sound(folder / "b.wav", [(1, 10, 16)], length_s=60, seed=1)
    update_index(tmp_path / "index", [folder], Hearing(encoder=NAME), workers=Workers())
    assert index.rank("band 1") == before
    assert len(open_index(tmp_path / "index", device="cpu").rank("band 1")[0].hits) > len(before[0].hits)


def test_index_and_network_must_belong_together(place):
    with pytest.raises(FeatureError, match="holds features of six-bands, and the checkpoint learnt on"):
        open_index(place / NAME, checkpoint=place / "logmel.pt", device="cpu")
    opened = open_index(place / NAME, device="cpu")

    class Other(SixBands):
        def provenance(self):
            return {"name": self.name, "version": 2}

    with pytest.raises(FeatureError, match="was made by another six-bands"):
        Index(catalog=opened.catalog, encoder=Other(), finder=None)
    centred = override(system("S1"), (*SMALL, f"targets.encoder={NAME}", "targets.windows=centred"))
    with pytest.raises(FeatureError, match="has aligned windows, and the checkpoint learnt on centred"):
        open_index(place / NAME, checkpoint=place / f"{NAME}.pt", device="cpu", adjust=lambda config: centred)


def test_an_answer_is_json_of_a_stated_schema(place):
    (ranking,) = open_index(place / NAME, device="cpu").rank("band 3", top=1)
    value = json.loads(json.dumps(ranking.to_json({"model": "S0"})))
    (moment,) = value.pop("moments")
    assert value == {"schema": 1, "query": "band 3", "made_by": {"model": "S0"}}
    assert moment.pop("recording").endswith("c.wav")
    assert set(moment) == {"rank", "start", "end", "score", "presence"}
    assert (moment["rank"], moment["start"], moment["end"]) == (1, 5.0, 9.0)
    assert "0:05 - 0:09" in ranking.to_text()


def test_a_place_counts_once_however_many_of_its_seconds_are_near():
    near = [(0.9, "a", 3), (0.8, "a", 5), (0.7, "b", 1), (0.6, "a", PLACE_ROWS + 1), (0.5, "a", 4)]
    places = _of_near(near, 2)
    assert {name: len(rows) for name, rows in places.items()} == {"a": PLACE_ROWS, "b": PLACE_ROWS}
    assert np.array_equal(_of_near(near, 3)["a"], np.arange(2 * PLACE_ROWS))


def test_an_index_without_recordings_or_vectors_says_so(place, tmp_path):
    empty = tmp_path / "empty"
    (tmp_path / "walks").mkdir()
    update_index(empty, [tmp_path / "walks"], Hearing(encoder="logmel"), workers=Workers())
    with pytest.raises(ManifestError, match="holds no recordings yet"):
        open_index(empty, device="cpu")
    torn = tmp_path / "torn"
    shutil.copytree(place / NAME, torn)
    shutil.rmtree(torn / VECTORS)
    with pytest.raises(FeatureError, match="holds no vectors; run `amr index` again"):
        open_index(torn, device="cpu").rank("band 1")
    update_index(torn, [], Hearing(encoder=NAME), workers=Workers())
    assert open_index(torn, device="cpu").rank("band 1")[0].hits
