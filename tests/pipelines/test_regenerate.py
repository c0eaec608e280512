"""A corpus from one command, and the same bytes when a worker of a cluster is killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import distributed
import pytest
from click.testing import CliRunner, Result

from clotho_long.core.errors import ManifestError
from clotho_long.core.jsonl import read_lines
from clotho_long.corpus import Corpus
from pipelines.corpora import find_manifest
from pipelines.regenerate import main
from tests.builders import as_manifest, files_below, make_clotho, make_tours

# Enough clips that a worker killed after the first one leaves work to do.
TOUR_S, CLIP_S, INTERVAL_S = 60.0, 20.0, 2.0
NOT_COMPARED = ("cache/", "steps/", "features/packed/", "report")  # what tells of the run, or may be deleted


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sources")
    return make_clotho(root / "clotho"), make_tours(root / "tours", TOUR_S)


@pytest.fixture(scope="module")
def whole(sources: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus made by one process."""
    out = tmp_path_factory.mktemp("whole") / "corpus"
    result = regenerate(out, sources, "--jobs", 1)
    assert result.exit_code == 0, result.output
    return out


def regenerate(out: Path, sources: tuple[Path, Path], *arguments: object) -> Result:
    settings = {
        "clotho": sources[0],
        "walking_tours": sources[1],
        "mixture": f"[clip_duration={CLIP_S:g}, clip_interval={INTERVAL_S:g}, gap_s.mean=3]",
        "encoder": "logmel",
        "render": "true",
        "manifest": "null",
    }
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    return CliRunner().invoke(main, ["--out", str(out), *sets, *map(str, arguments)])


def compared(out: Path) -> dict[str, bytes]:
    """Everything that a corpus is made of."""
    return {name: data for name, data in files_below(out).items() if not name.startswith(NOT_COMPARED)}


def test_a_corpus_is_made_checked_and_reported(whole: Path) -> None:
    assert (whole / "checked.json").is_file()
    report = (whole / "report.md").read_text()
    clips = sum(1 for _ in read_lines(whole / "recipes" / "train.jsonl"))
    assert f"| train | {clips:,} |" in report
    assert "Every file was used." in report
    assert "<html" in (whole / "report.html").read_text()


def test_a_second_run_does_nothing(whole: Path, sources: tuple[Path, Path]) -> None:
    result = regenerate(whole, sources, "--jobs", 1)
    said = [line for line in result.output.splitlines() if ": " in line]
    assert said == [f"{step}: unchanged" for step in ("scan", "plan", "extract", "render", "check")]


def test_a_manifest_gives_the_corpus_that_it_was_made_from(
    whole: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest = as_manifest(Corpus(whole), tmp_path / "manifest")
    result = regenerate(
        tmp_path / "corpus", sources, "--set", f"manifest={manifest}", "--set", "mixture=[]", "--jobs", 1
    )
    assert result.exit_code == 0, result.output
    made, wanted = compared(tmp_path / "corpus"), compared(whole)
    # says where the recipes come from
    assert made.pop("corpus.json") != wanted.pop("corpus.json")
    assert made == wanted


def test_clips_whose_sources_are_gone_can_be_left_out(whole: Path, tmp_path: Path) -> None:
    manifest = as_manifest(Corpus(whole), tmp_path / "manifest")
    clotho, tours = make_clotho(tmp_path / "clotho"), make_tours(tmp_path / "tours", TOUR_S)
    gone = next(event.event_id for recipe in Corpus(whole).recipes("train") for event in recipe.events)
    (clotho / "development" / f"{gone}.wav").unlink()
    command = (tmp_path / "corpus", (clotho, tours), "--set", f"manifest={manifest}", "--set", "mixture=[]")
    result = regenerate(*command)
    assert result.exit_code == 1
    assert f"1 sources differ from the manifest's: event {gone!r} (train) is missing" in result.stderr
    assert "--set allow_differences=true" in result.stderr
    result = regenerate(*command, "--set", "allow_differences=true", "--set", "render=false")
    assert result.exit_code == 0, result.output
    kept = list(Corpus(tmp_path / "corpus").recipes("train"))
    assert 0 < len(kept) < len(list(Corpus(whole).recipes("train")))
    assert all(event.event_id != gone for recipe in kept for event in recipe.events)


@pytest.mark.slow
def test_a_killed_worker_of_a_cluster_changes_no_byte(
    whole: Path, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    left: list[int] = []

    def kill_one(cluster: distributed.LocalCluster) -> None:
        clap = out / "features" / "clap"
        while not list(clap.glob("[!.]*.npz")):
            time.sleep(0.002)
        victim = next(iter(cluster.workers.values()))
        os.kill(victim.pid, signal.SIGKILL)
        left.append(len(compared(whole)) - len(compared(out)))

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        killer = threading.Thread(target=kill_one, args=(cluster,), daemon=True)
        killer.start()
        result = regenerate(out, sources, "--backend", "dask", "--scheduler", cluster.scheduler_address)
        killer.join(timeout=60)
    assert result.exit_code == 0, result.output
    assert left[0] > 1, "the worker was killed in the middle"
    assert compared(out) == compared(whole)


@pytest.mark.parametrize("arguments", [("--backend", "dask"), ("--scheduler", "tcp://127.0.0.1:1")])
def test_backend_and_scheduler_belong_together(
    sources: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = regenerate(tmp_path, sources, *arguments)
    assert result.exit_code == 2
    assert "--backend dask and --scheduler ADDRESS belong together" in result.stderr


def test_sources_that_are_missing_end_in_one_line(tmp_path: Path) -> None:
    result = regenerate(tmp_path / "corpus", (tmp_path / "none", tmp_path / "none"))
    assert result.exit_code == 1
    assert result.stderr == f"error: {tmp_path / 'none'}: no such file or folder; check the settings\n"


def test_an_unknown_setting_is_named(sources: tuple[Path, Path], tmp_path: Path) -> None:
    result = regenerate(tmp_path, sources, "--set", "clips=3")
    assert result.exit_code == 2
    assert "unknown setting clips; did you mean max_clips?" in result.stderr


@pytest.mark.parametrize(
    "setting", ["max_clips=50", "seed=7", "preset=clotho-moment", "mixture=[clip_duration=60]"]
)
def test_settings_that_a_manifest_would_ignore_are_refused(tmp_path: Path, setting: str) -> None:
    """With the settings that come with the package, which name a manifest."""
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "corpus"), "--set", setting])
    assert result.exit_code in (1, 2)
    key = setting.partition("=")[0]
    assert (
        f"a manifest has its recipes, and {key} would be ignored; set manifest=null to draw" in result.stderr
    )
    assert not (tmp_path / "corpus").exists()


def test_the_default_manifest_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for named in ("clotho-moment-long", "manifests/clotho-moment-long"):
        assert (find_manifest(Path(named)) / "recipes" / "train.jsonl.gz").is_file()
    own = tmp_path / "clotho-moment-long" / "recipes"
    own.mkdir(parents=True)
    assert find_manifest(Path("clotho-moment-long")) == Path("clotho-moment-long"), (
        "the user's own comes first"
    )
    with pytest.raises(
        ManifestError,
        match=r"^other: no such manifest; give a folder .* clotho-moment-long or clotho-moment-short$",
    ):
        find_manifest(Path("other"))


def test_a_device_that_does_not_exist_is_refused_before_any_work(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    result = regenerate(tmp_path / "corpus", sources, "--set", "device=gpu")
    assert result.exit_code in (1, 2)
    assert "no device is called 'gpu'; take auto, cpu, cuda" in result.stderr
    assert not (tmp_path / "corpus").exists()
