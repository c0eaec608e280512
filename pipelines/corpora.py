"""Steps that make a corpus: scan, plan, extract, check, and render if asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic.dataclasses import dataclass

from clotho_long.core.devices import check_device_name
from clotho_long.core.errors import ClothoLongError, ConfigError, FeatureError, ManifestError
from clotho_long.core.files import write_json
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import override, require_range, to_plain
from clotho_long.core.work import Workers
from clotho_long.corpus import Corpus
from clotho_long.features.extract import ENCODING_VERSION, EncoderChoice, WindowChoice
from clotho_long.features.windows import Convention
from clotho_long.recipe.spec import PRESETS
from clotho_long.stages.adopt import plan_from_manifest
from clotho_long.stages.check import CHECK_VERSION, check
from clotho_long.stages.extract import extract_corpus
from clotho_long.stages.mixtures import MIXTURE_VERSION
from clotho_long.stages.plan import PLAN_VERSION, plan
from clotho_long.stages.render import render
from clotho_long.stages.scan import SCAN_VERSION, scan
from pipelines.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """What a corpus is made of, and how."""

    clotho: Path
    walking_tours: Path
    split: str = "published"  # of the tours, or `ratio:7,1,2`
    manifest: Path | None = None  # recipes to take: a folder, or the name of one of manifests/
    allow_differences: bool = False  # leave out the manifest's clips whose sources are not at hand
    # how recipes are drawn where there is no manifest
    preset: str = "clotho-moment-long"
    mixture: tuple[str, ...] = ()  # over the preset, such as clip_duration=60
    seed: int = 2023
    max_clips: int | None = None  # of each split
    render: bool = False  # also write the mixes as audio
    encoder: str = "msclap-2023"
    weights: Path | None = None
    device: str = "auto"
    precision: str = "float32"
    windows: Convention = "aligned"

    def __post_init__(self) -> None:
        check_device_name(self.device, where="")
        require_range(self, ("seed",), high=MAX_SEED)
        if self.preset not in PRESETS:
            raise ConfigError(f"no preset {self.preset!r}", fix=f"take one of {', '.join(PRESETS)}")
        if self.manifest is not None and (ignored := self._drawing_settings()):
            raise ConfigError(
                f"a manifest has its recipes, and {', '.join(ignored)} would be ignored",
                "settings",
                "set manifest=null to draw recipes, or leave the others out",
            )

    def _drawing_settings(self) -> list[str]:
        """Settings of drawing that are not as they are by default."""
        by_default = {field.name: field.default for field in dataclasses.fields(CorpusSettings)}
        drawing = ("preset", "mixture", "seed", "max_clips")
        return [name for name in drawing if getattr(self, name) != by_default[name]]


def find_manifest(named: Path) -> Path:
    """A folder of the user's, or one of the published manifests: in the installed package or the checkout.

    Raises:
        ManifestError: there is none.
    """
    package = Path(__file__).parent
    published = next((p for p in (package / "manifests", package.parent / "manifests") if p.is_dir()), None)
    places = [named]
    if published is not None:
        # with or without the folder that it lies in
        places += [published / named, published.parent / named]
    for place in places:
        if (place / "recipes").is_dir():
            return place
    names = [] if published is None else sorted(p.name for p in published.iterdir() if p.is_dir())
    raise ManifestError("no such manifest", named, f"give a folder with recipes/, or {' or '.join(names)}")


def corpus_steps(
    settings: CorpusSettings, corpus: Corpus, workers: Workers, *, prefix: str = "", after: Sequence[str] = ()
) -> list[Step]:
    """The steps of one corpus; the last one is `PREFIXcheck`.

    Args:
        prefix: before the names, where a pipeline makes several corpora.
        after: steps that make the sources; without them the sources are the user's files.
    """
    plain = to_plain(settings)
    manifest = None if settings.manifest is None else find_manifest(settings.manifest)

    def scan_sources() -> None:
        scan(
            corpus,
            settings.clotho,
            settings.walking_tours,
            split_rule=settings.split,
            jobs=workers.jobs,
            scheduler=workers.scheduler,
            watch=workers.watch,
        )

    def draw() -> None:
        if manifest is not None:
            counts = plan_from_manifest(corpus, manifest, allow_differences=settings.allow_differences)
        else:
            spec = override(PRESETS[settings.preset], settings.mixture)
            counts = plan(
                corpus, spec, preset=settings.preset, seed=settings.seed, max_clips=settings.max_clips
            )
        if not counts.queries.get("train"):
            raise ManifestError("holds no query to train on", corpus.annotations_file("train"), "add sources")

    def write_audio() -> None:
        with _foreign_files_moved_by_hand(corpus.root / "audio"):
            counts = render(
                corpus,
                splits=corpus.planned_splits,
                jobs=workers.jobs,
                scheduler=workers.scheduler,
                watch=workers.watch,
            )
        _refuse(counts.problems, corpus)

    def encode() -> None:
        encoder = EncoderChoice(
            name=settings.encoder,
            weights=settings.weights,
            device=settings.device,
            precision=settings.precision,
        )
        windows = WindowChoice(convention=settings.windows)
        with _foreign_files_moved_by_hand(corpus.features_dir):
            both = extract_corpus(corpus, encoder=encoder, windows=windows, workers=workers)
        for counts in both:
            _refuse(counts.problems, corpus)

    def look() -> None:
        _refuse(tuple(check(corpus)), corpus)
        write_json(corpus.root / "checked.json", {"problems": 0})

    scan_name, plan_name = f"{prefix}scan", f"{prefix}plan"
    steps = [
        Step(
            name=scan_name,
            action=scan_sources,
            settings=_only(plain, "split"),
            after=tuple(after),
            files=() if after else (settings.clotho, settings.walking_tours),
            outputs=(corpus.root / "sources",),
            versions={"scan": SCAN_VERSION},
        ),
        Step(
            name=plan_name,
            action=draw,
            settings=_only(plain, "allow_differences", "preset", "mixture", "seed", "max_clips"),
            after=(scan_name,),
            files=() if manifest is None else (manifest,),
            outputs=(corpus.root / "recipes", corpus.root / "text"),
            versions={"plan": PLAN_VERSION},
        ),
        Step(
            name=f"{prefix}extract",
            action=encode,
            settings=_only(plain, "encoder", "weights", "precision", "windows"),
            after=(scan_name, plan_name),
            outputs=(corpus.features_dir,),
            versions={"mixture": MIXTURE_VERSION, "encoding": ENCODING_VERSION},
            keeps_notes=True,
        ),
    ]
    if settings.render:
        steps.append(
            Step(
                name=f"{prefix}render",
                action=write_audio,
                after=(scan_name, plan_name),
                outputs=(corpus.root / "audio",),
                versions={"mixture": MIXTURE_VERSION},
                keeps_notes=True,
            )
        )
    steps.append(
        Step(
            name=f"{prefix}check",
            action=look,
            after=tuple(step.name for step in steps),
            outputs=(corpus.root / "checked.json",),
            versions={"check": CHECK_VERSION},
        )
    )
    return steps


def _only(plain: dict[str, object], *keys: str) -> dict[str, object]:
    return {key: plain[key] for key in keys}


def _refuse(problems: Sequence[object], corpus: Corpus) -> None:
    if problems:
        raise ClothoLongError(f"{len(problems)} problems, the first: {problems[0]}", corpus.root)


@contextmanager
def _foreign_files_moved_by_hand(folder: Path) -> Iterator[None]:
    """A pipeline overwrites nothing, so it has no `--overwrite` to advise for files of another corpus."""
    try:
        yield
    except (FeatureError, ManifestError) as error:
        if "--overwrite" not in error.fix:
            raise
        fix = f"move {folder} away, or choose another --out"
        raise type(error)(error.problem, error.where, fix) from None
