"""A collection on its whole way: synthesised, heard, killed, changed, asked.

    python -m benchmarks.collection --out DIR
    python -m benchmarks.collection --out DIR --recordings 20 --minutes 2 --epochs 10

Recordings of city noise hold sounds of `pipelines.synthetic`, each kind of sound in `COPIES` recordings, so
every query has that many true moments; a third of the queries names kinds that no recording holds. A small S9
learns on other takes of the same kinds with `logmel` (or give --checkpoint). Then `amr index` is killed with
SIGKILL and goes on; five recordings each are added, changed, renamed and removed; `amr search` answers,
beside `--exact`.
Prints what is in benchmarks/search.md. Figures of synthesised sound say how search compares with hearing
everything, and nothing about real sound.
"""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import soxr

from amr_model.roc import area_under_roc
from clotho_long.audio.io import Waveform, stream_mono, write_audio
from clotho_long.core.records import ScoredMoment
from clotho_long.core.seeds import generator
from pipelines.synthetic import (
    PITCHES_HZ,
    SOUNDS,
    TEMPLATES,
    TOUR_RATE_HZ,
    SyntheticSize,
    synthesise_sources,
    tour_sound,
)

RATE_HZ = 32_000
COPIES = 3  # recordings that hold a kind of sound
CHANGED = 5  # recordings that are added, changed, renamed, removed
EVENT_GAIN = 0.5
SLOT_S = 12  # an event and the pause after it
NETWORK = (
    "model.hidden_dim=64", "model.num_heads=4", "model.feedforward_dim=128", "model.similarity_inner_dim=256",
    "model.encoder_layers=1", "model.audio_centres=10", "model.em_iterations=3", "model.dropout=0.0",
    "model.input_dropout=0.2", "train.batch_size=16", "train.learning_rate=1.0e-3", "train.max_grad_norm=0.5",
)  # fmt: skip
MIXTURES = ("clip_duration=60", "clip_interval=3", "gap.mean=6")

Kind = tuple[str, str]  # sound, pitch

# A process begins with the peak memory of the one that started it: a small one lies between.
WATCH = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command printed, and what it took."""

    lines: list[str]  # of stdout
    seconds: float
    peak_bytes: int

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """Where a kind of sound stands: (name of the recording, onset, offset); empty if it is nowhere."""

    query: str
    moments: tuple[tuple[str, float, float], ...]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.option("--recordings", "num", default=100, show_default=True)
@click.option("--minutes", default=10.0, show_default=True, help="Of each recording.")
@click.option("--checkpoint", type=click.Path(exists=True, path_type=Path), help="Instead of training one.")
@click.option("--epochs", default=30, show_default=True, help="Of the network.")
@click.option("--jobs", default=2, show_default=True)
def main(out: Path, num: int, minutes: float, checkpoint: Path | None, epochs: int, jobs: int) -> None:
    """Make a collection, index it, change it, search it."""
    out.mkdir(parents=True)
    sources = synthesise_sources(out / "sources", size=SyntheticSize(), seed=2023)
    checkpoint = checkpoint or _train(out, sources, epochs, jobs)
    folder, index = out / "collection", out / "index"
    truths = _synthesise(folder, sources[0], num, 60 * minutes)
    settings = ("--encoder", "logmel", "--jobs", jobs)
    print(f"{num} recordings of {minutes:g} minutes")
    _kill(
        ("index", folder, "--out", index, *settings),
        features=index / "features" / "clap",
        after=max(1, num // 3),
    )
    _told("after SIGKILL", "index", folder, "--out", index, *settings)
    names = _change(folder, num, minutes)
    _told("five of each", "index", "--out", index, "--jobs", jobs)
    _told("nothing new", "index", "--out", index, "--jobs", jobs)
    _told("check", "index", "--check", "--out", index)
    _told("float16", "index", folder, "--out", out / "half", "--float16", *settings)
    truths = [
        Truth(query=t.query, moments=tuple((names.get(name, name), *span) for name, *span in t.moments))
        for t in truths
    ]
    (out / "queries.txt").write_text("".join(f"{truth.query}\n" for truth in truths))
    asked = ("--checkpoint", checkpoint, "--queries", out / "queries.txt", "--json", "--jobs", jobs)
    rankings = {}
    for label, where, more in (
        ("search", index, ()), ("search --candidates 10", index, ("--candidates", 10)),
        ("search --exact", index, ("--exact",)), ("search --exact, float16", out / "half", ("--exact",)),
    ):  # fmt: skip
        rankings[label] = _told(label, "search", where, *asked, *more, quiet=True)
        _score(label, truths, rankings[label])
    exact, half = rankings["search --exact"], rankings["search --exact, float16"]
    same = [_places(a)[:1] == _places(b)[:1] for a, b in zip(exact, half, strict=True)]
    print(f"float16: the first answer is the same for {sum(same)} of {len(same)} queries")
    _time_of_queries(index, checkpoint, truths)


def _train(out: Path, sources: tuple[Path, Path], epochs: int, jobs: int) -> Path:
    corpus = out / "corpus"
    mixtures = [word for setting in MIXTURES for word in ("--set", setting)]
    network = [word for setting in NETWORK for word in ("--set", setting)]
    run_command("clotho_long.cli", "build", "--clotho", sources[0], "--walking-tours", sources[1],
         "--out", corpus, "--split", "ratio:3,1,1", "--encoder", "logmel", "--jobs", jobs,
         *mixtures)  # fmt: skip
    texts = [
        word for split in ("train", "valid") for word in (f"--{split}", corpus / "text" / f"{split}.jsonl")
    ]
    features = ("--features", corpus / "features")
    run_command("amr_model.cli", "train", "--system", "S9", *texts, *features, "--out", out / "run",
         "--epochs", epochs, "--jobs", jobs, *network)  # fmt: skip
    return out / "run" / "checkpoint-best.pt"


def _synthesise(folder: Path, clotho: Path, num: int, length_s: float) -> list[Truth]:
    """Write the recordings; two queries for each kind of sound, of which a third is left out."""
    rng = generator(7, "collection")
    kinds: list[Kind] = [(sound, pitch) for sound in SOUNDS for pitch in PITCHES_HZ]
    rng.shuffle(kinds)
    present = kinds[: 2 * len(kinds) // 3]
    # the last recordings hold nothing: they are those that change
    slots = [(at, slot) for at in range(num - 2 * CHANGED) for slot in range(int(length_s // SLOT_S))]
    if len(slots) < COPIES * len(present):
        raise click.UsageError("too small for all sounds: take more --recordings or --minutes")
    chosen = [slots[at] for at in rng.permutation(len(slots))[: COPIES * len(present)]]
    placed: dict[int, list[tuple[Kind, int]]] = {at: [] for at in range(num)}
    for place, (at, slot) in enumerate(chosen):
        placed[at].append((present[place % len(present)], slot))
    moments: dict[Kind, list[tuple[str, float, float]]] = {kind: [] for kind in kinds}
    for at in range(num):
        sound = city_noise(length_s, at)
        for kind, slot in placed[at]:
            event, onset_s = take_of(clotho, kind), SLOT_S * slot + 1.0
            start = int(onset_s * RATE_HZ)
            sound[start : start + len(event)] += EVENT_GAIN * event[: len(sound) - start]
            moments[kind].append((_name(at), onset_s, onset_s + len(event) / RATE_HZ))
        write_audio(folder / _name(at), np.clip(sound, -1, 1), RATE_HZ)
    return [
        Truth(
            query=template.format(pitch=pitch, sound=sound, verb=SOUNDS[sound][0]),
            moments=tuple(moments[sound, pitch]),
        )
        for sound, pitch in kinds
        for template in (TEMPLATES[0], TEMPLATES[2])
    ]


def city_noise(length_s: float, seed: int) -> Waveform:
    """Mono, at `RATE_HZ`."""
    stereo = tour_sound(length_s, generator(7, "city", str(seed)))
    mono: Waveform = soxr.resample(stereo.mean(axis=1), TOUR_RATE_HZ, RATE_HZ).astype(np.float32)
    return mono


def take_of(clotho: Path, kind: Kind) -> Waveform:
    """A take that the network did not learn on."""
    (path,) = clotho.rglob(f"{kind[1]} {kind[0]}, take 1 (test).wav")
    whole: Waveform = np.concatenate(list(stream_mono(path, RATE_HZ)))
    return whole


def _name(at: int) -> str:
    return f"{at:03d}.wav"


def _kill(words: Sequence[object], *, features: Path, after: int) -> None:
    """Start a command, and kill it when some features are there."""
    started = time.perf_counter()
    child = subprocess.Popen([*_program("amr_model.cli"), *map(str, words)])
    while child.poll() is None and not (features.is_dir() and len(list(features.glob("[!.]*.npz"))) >= after):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    heard = len(list(features.glob("[!.]*.npz")))
    print(f"killed after {time.perf_counter() - started:.1f} s with {heard} heard", flush=True)


def _change(folder: Path, num: int, minutes: float) -> dict[str, str]:
    """Add, change, rename and remove recordings; old name -> new name."""
    for at in range(CHANGED):
        write_audio(folder / f"added{at}.wav", city_noise(60 * minutes, 1000 + at), RATE_HZ)
        write_audio(folder / _name(num - 1 - at), city_noise(60 * minutes, 2000 + at), RATE_HZ)
        (folder / _name(num - 1 - CHANGED - at)).unlink()
    names = {_name(at): f"renamed{at}.wav" for at in range(CHANGED)}
    for old, new in names.items():
        (folder / old).rename(folder / new)
    return names


def _told(label: str, *words: object, quiet: bool = False) -> list[dict[str, Any]]:
    """Run `amr` as users do; prints time, memory, and its last line; its lines of JSON, if it prints such."""
    ran = run_command("amr_model.cli", *words)
    told = "" if quiet or not ran.lines else f": {ran.lines[-1]}"
    print(f"{label}: {ran.seconds:.1f} s, peak {ran.peak_bytes / 1e9:.2f} GB{told}", flush=True)
    return ran.objects


def run_command(module: str, *words: object) -> Ran:
    """Run a command as users do."""
    command = [*_program(module), *map(str, words), "--quiet"]
    with tempfile.NamedTemporaryFile("r") as peak:
        started = time.perf_counter()
        watched = [sys.executable, "-c", WATCH, peak.name, *command]
        done = subprocess.run(watched, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.perf_counter() - started
        if done.returncode:
            raise click.ClickException(f"{' '.join(command)} ended with {done.returncode}")
        return Ran(lines=done.stdout.splitlines(), seconds=seconds, peak_bytes=int(peak.read()) * 1024)


def _program(module: str) -> list[str]:
    return [sys.executable, "-c", f"from {module} import main; main()"]


def _places(answer: dict[str, Any]) -> list[tuple[str, float, float]]:
    moments = answer["moments"]
    assert isinstance(moments, list)
    return [(Path(m["recording"]).name, m["start"], m["end"]) for m in moments]


def _score(label: str, truths: Sequence[Truth], answers: Sequence[dict[str, Any]]) -> None:
    """Recall of true moments (IoU of at least 0.5), and how well the best score tells what is there."""
    first, ten, best = [], [], []
    for truth, answer in zip(truths, answers, strict=True):
        places = _places(answer)
        moments = answer["moments"]
        assert isinstance(moments, list)
        best.append(moments[0]["score"] if moments else 0.0)
        if truth.moments:
            right = [[_same(place, true) for true in truth.moments] for place in places]
            first.append(any(any(row) for row in right[:1]))
            ten.append(np.mean([any(row[at] for row in right[:10]) for at in range(len(truth.moments))]))
    present = np.array([bool(truth.moments) for truth in truths])
    print(
        f"  {label}: first right {100 * np.mean(first):.0f} %, true moments among ten "
        f"{100 * np.mean(ten):.0f} %, ROC {area_under_roc(np.array(best), present):.2f}"
    )


def _same(found: tuple[str, float, float], true: tuple[str, float, float]) -> bool:
    from amr_model.answer.stretches import iou

    return found[0] == true[0] and iou(ScoredMoment(*found[1:], 0), ScoredMoment(*true[1:], 0)) >= 0.5


def _time_of_queries(index: Path, checkpoint: Path, truths: Sequence[Truth]) -> None:
    import amr_model

    started = time.perf_counter()
    opened = amr_model.open_index(index, checkpoint=checkpoint, device="cpu")
    opened.search(truths[0].query)
    first_s = time.perf_counter() - started
    further = []
    for truth in truths[1:6]:
        started = time.perf_counter()
        opened.search(truth.query)
        further.append(time.perf_counter() - started)
    print(f"in Python: first query {first_s:.1f} s with opening, a further one {np.median(further):.1f} s")


if __name__ == "__main__":
    main()
