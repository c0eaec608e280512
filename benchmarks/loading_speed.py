"""An epoch of batches: our loading beside Lighthouse's Dataset and collate, on the same features.

    python benchmarks/loading_speed.py LIGHTHOUSE --annotations castella_train_release.jsonl --folder DIR

Random features in the size of the published ones are written to the folder once (0.8 GB for CASTELLA's 876
training recordings). Both sides shuffle and collate batches of 32; ours in one process, Lighthouse with
`num_workers` 0 and, as it is configured, 4. Prints medians over epochs in alternation, and what our first
start costs (packing, normalising).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from amr_model.data.sets import RetrievalSet, read_annotations
from amr_model.public.presets import compat_lighthouse
from clotho_long.features.files import AUDIO_KEY, TEXT_KEY, audio_file, text_file, write_features

BATCH_SIZE = 32
DIM = 768


def write_random_features(annotations: Path, features: Path) -> None:
    """Features of every recording and query that are not there yet."""
    rng = np.random.default_rng(0)
    for query in read_annotations(annotations):
        audio, text = audio_file(features, query.recording_id), text_file(features, query.qid)
        if not audio.exists():
            rows = min(int(query.duration_s), 300)
            write_features(audio, rng.standard_normal((rows, DIM), dtype=np.float32), AUDIO_KEY, {})
        if not text.exists():
            tokens = len(query.query.split()) + 2
            write_features(text, rng.standard_normal((tokens, DIM), dtype=np.float32), TEXT_KEY, {})


def lighthouse_batches(
    lighthouse: Path, annotations: Path, features: Path, num_workers: int, *, num_batches: int | None = None
) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """What an epoch of Lighthouse's loading is: a function that yields (inputs, targets) batch by batch."""
    sys.path[:0] = [str(lighthouse), str(lighthouse / "training")]
    from torch.utils.data import DataLoader, Subset
    from training.dataset import StartEndDataset, prepare_batch_inputs, start_end_collate

    data = StartEndDataset(
        dset_name="castella",
        domain=None,
        data_path=str(annotations),
        v_feat_dirs=None,
        a_feat_dirs=[str(features / "clap")],
        q_feat_dir=str(features / "clap_text"),
        v_feat_types=None,
        a_feat_types="clap",
        max_q_l=32,
        max_v_l=300,
        max_a_l=300,
        ctx_mode="audio_tef",
        clip_len=1,
    )
    size = len(data) if num_batches is None else min(num_batches * BATCH_SIZE, len(data))
    some = Subset(data, range(size))
    loader = DataLoader(
        some, collate_fn=start_end_collate, batch_size=BATCH_SIZE, num_workers=num_workers, shuffle=True
    )

    def batches() -> Iterator[tuple[Any, Any]]:
        for _, batch in loader:
            yield prepare_batch_inputs(batch, "cpu")

    return batches


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lighthouse", type=Path)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    write_random_features(options.annotations, options.folder)

    start = time.perf_counter()
    data = RetrievalSet.load(options.annotations, options.folder, compat_lighthouse("qd_detr"))
    print(f"ours, first start: {time.perf_counter() - start:.1f} s")
    numbers = iter(range(1000))

    def our_epoch() -> int:
        batches = data.batches(batch_size=BATCH_SIZE, seed=1, epoch=next(numbers))
        return sum(len(batch.qids) for batch, _ in batches)

    def their_epoch(num_workers: int) -> Callable[[], int]:
        batches = lighthouse_batches(options.lighthouse, options.annotations, options.folder, num_workers)
        return lambda: sum(len(inputs["src_txt"]) for inputs, _ in batches())

    epochs = {
        "ours": our_epoch,
        "Lighthouse, num_workers 0": their_epoch(0),
        "Lighthouse, num_workers 4": their_epoch(4),
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(options.epochs):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            if epoch() != len(data):
                raise SystemExit(f"{name} did not yield every query")
            seconds[name].append(time.perf_counter() - start)
    ours = statistics.median(seconds["ours"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name}: {median:.2f} s an epoch of {len(data)} queries, ratio {median / ours:.1f}")


if __name__ == "__main__":
    main()
