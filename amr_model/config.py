"""Every setting of the retriever, typed, with its reason; the report's systems; the reference's behaviour.

Values marked "report" are fixed by the technical report of systems S1-S8. Where the public references
(QD-DETR, UVCOM, Lighthouse) do something else, the field says so and `compat_lighthouse` selects it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic.dataclasses import dataclass

from clotho_long.core.errors import ConfigError
from clotho_long.core.seeds import MAX_SEED
from clotho_long.core.settings import build_config, keys_of, override, require_range
from clotho_long.features.windows import Convention

# Beyond these no network was ever meant; a slip of the finger must not take the machine's memory or days.
MAX_WIDTH = 65_536
MAX_LAYERS = 64
MAX_COUNT = 10_000
MAX_SECONDS = 1e6
TimeScale: TypeAlias = Literal["features", "duration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The network. Sizes first, then the parts, then the switches between ours and the reference."""

    audio_dim: int = 768  # HTS-AT embedding before CLAP's projection
    text_dim: int = 768  # GPT-2 token states
    hidden_dim: int = 256
    num_heads: int = 8
    feedforward_dim: int = 1024
    encoder_layers: int = 2  # report; UVCOM as published: 3
    decoder_layers: int = 2  # report; UVCOM as published: 3
    num_queries: int = 10  # report; UVCOM as published: 30
    dropout: float = 0.1
    input_dropout: float = 0.5

    refiner: Literal["none", "cim"] = "none"  # cim: UVCOM's refinement, S2 and up
    # qd_detr keeps QD-DETR's grounding head (report); uvcom starts from slots, which collapse to one mean
    head: Literal["qd_detr", "uvcom"] = "qd_detr"
    # separate normalises the two endpoint columns to a constant pair, which erases the position
    tef: Literal["concat", "separate"] = "concat"
    quality_head: bool = False  # report Eq. 1, S3, S7, S8

    # reference gives each head of the cross attention the mask of another item of the batch
    cross_mask: Literal["item", "reference"] = "item"
    # reference lets padded rows into means, aggregation, convolution borders, slots and softmaxes
    padding: Literal["masked", "reference"] = "masked"
    # product: the port of UVCOM returns the matrix where the original inverts it
    propagation: Literal["inverse", "product"] = "inverse"
    propagation_weight: float = 0.5
    text_centres: int = 5
    audio_centres: int = 30
    em_iterations: int = 5
    em_sigma: float = 1.2  # as published; centres collapse at it, 0.2-0.4 keeps them apart
    slot_iterations: int = 5
    slot_inner_dim: int = 1024
    similarity_inner_dim: int = 1024
    # the Xavier pass of the reference overwrites the zeros of the refinement head
    bbox_zero_init: bool = True
    width_floor: float = 1e-3  # the decoder divides by the reference width; 0 is the reference
    # Text of the negative pass. roll: another item's, as collated. reference: the least similar one.
    # hard: the most similar one of another recording. Both choose by the model's own similarities.
    negatives: Literal["roll", "reference", "hard"] = "roll"
    negatives_from_epoch: int = 80  # until then roll

    def __post_init__(self) -> None:
        sizes = ("audio_dim", "text_dim", "hidden_dim", "num_heads", "feedforward_dim")
        require_range(self, (*sizes, "slot_inner_dim", "similarity_inner_dim"), low=1, high=MAX_WIDTH)
        counts = ("num_queries", "text_centres", "audio_centres", "em_iterations", "slot_iterations")
        require_range(self, counts, low=1, high=MAX_COUNT)
        require_range(self, ("encoder_layers", "decoder_layers"), low=1, high=MAX_LAYERS)
        _require(self.hidden_dim % (2 * self.num_heads) == 0, "hidden_dim must be a multiple of 2 num_heads")
        _require(self.hidden_dim % 4 == 0, "hidden_dim must be a multiple of 4 (two sine codes)")
        for name in ("dropout", "input_dropout"):
            _require(0 <= getattr(self, name) < 1, f"{name} must lie in [0, 1)")
        require_range(self, ("em_sigma",), above=True)
        _require(0 <= self.propagation_weight < 1, "propagation_weight must lie in [0, 1)")
        require_range(self, ("width_floor",), high=1)
        require_range(self, ("negatives_from_epoch",))
        _require(self.head == "qd_detr" or self.refiner == "cim", "head: uvcom needs refiner: cim")
        chosen = self.negatives == "roll" or self.refiner == "cim"
        _require(chosen, "negatives chosen by similarity need refiner: cim")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights and constants of the objective (report Eq. 8) and of the assignment."""

    span: float = 10.0  # report
    giou: float = 1.0  # report
    label: float = 4.0  # report
    saliency: float = 1.0  # report
    similarity: float = 0.0  # report: 0.5 from S2 on; UVCOM as published: 1
    quality: float = 0.0  # report: 1.0 for S3, S7, S8
    boundary: float = 0.0  # report: 0.05 for S6, S8
    frame: float = 0.0  # S9: each second is a decision of its own; none of the report's systems has it
    frame_positive_weight: float = 3.0  # about one second in ten answers; 5 finds more, with more false ones

    match_span: float = 10.0
    match_giou: float = 1.0
    match_class: float = 4.0
    background_weight: float = 0.1

    saliency_margin: float = 0.2
    # sum grows with the length and dominates early, but the weights were tuned with it
    neg_reduction: Literal["sum", "mean"] = "sum"

    # A cosine without temperature moves the global term only from ln B to ln B - 2; 10 is worth a try.
    sim_scale: float = 1.0
    # clips: divide by the valid rows (the reference's size); positives: by the positive rows (about
    # 23 times larger on CASTELLA); reference: over padding too, divided by the padded length
    sim_reduction: Literal["clips", "positives", "reference"] = "clips"
    # texts of the same recording are no negatives of each other; False is the reference
    sim_same_recording: bool = False

    # all: every query against its best window, in three bands of IoU (BAM-DETR)
    quality_targets: Literal["matched", "all"] = "matched"

    boundary_margin: float = 0.03  # m of report Eq. 6
    boundary_iou: tuple[float, float] = (0.40, 0.75)  # report Eq. 5: candidates
    boundary_negative_iou: tuple[float, float] = (0.45, 0.75)  # report: negatives
    boundary_epsilon: float = 0.05  # report Eq. 7
    boundary_negatives: int = 1  # per error type

    def __post_init__(self) -> None:
        numbers = [f.name for f in dataclasses.fields(self) if isinstance(getattr(self, f.name), float)]
        require_range(self, numbers)
        require_range(self, ("sim_scale", "boundary_epsilon"), above=True)
        for name in ("boundary_iou", "boundary_negative_iou"):
            low, high = getattr(self, name)
            _require(0 < low < high <= 1, f"{name} must be an increasing pair in (0, 1]")
        require_range(self, ("boundary_negatives",), low=1, high=MAX_COUNT)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureConfig:
    """What is read of the feature files, and how."""

    # Whose features these are, and where its windows lie. Training takes both from the feature files (those
    # of others do not say); prediction encodes new recordings alike.
    encoder: str = "msclap-2023"
    windows: Convention = "aligned"

    row_s: float = 1.0  # seconds per row of audio features
    audio_max: int | None = 300  # rows kept; Lighthouse's Clotho-Moment setting: 75
    # Rows that the network hears at once of a longer recording. Training notes the longest that it saw: a
    # network asked about longer stretches than it learnt on finds nothing. None: audio_max, and that is said.
    stretch_rows: int | None = None
    text_max: int | None = 32  # tokens kept; DCASE baseline: none
    audio_normalise: bool = True
    text_normalise: bool = True  # DCASE baseline: off

    def __post_init__(self) -> None:
        _require(bool(self.encoder.strip()), "encoder must be named")
        require_range(self, ("row_s",), above=True, high=MAX_SECONDS)
        require_range(self, ("audio_max", "stretch_rows", "text_max"), low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetConfig:
    """From annotations to labels, and the negatives of a batch."""

    # features: targets and predictions share one scale, rows * row_s; duration: the reference divides by
    # that but multiplies by the annotated duration
    time_scale: TimeScale = "features"
    # clip: to the recording, dropped if nothing is left; keep: the reference trains on centres above 1
    moment_policy: Literal["clip", "keep"] = "clip"
    # Moments of a query; more are sampled anew each epoch. None: as many as the model has queries.
    max_moments: int | None = None  # reference: 5
    min_length_s: float = 0.0  # moments that are not longer are no targets
    # all: every second inside any moment is positive (report, S4 and up); first: the reference
    saliency_moments: Literal["all", "first"] = "all"
    saliency_pairs: Literal["sample", "all"] = "sample"  # pairs of the margin term
    sim_moments: Literal["all", "first"] = "all"  # first: truncated after float32 rounding, as the reference
    # distinct: the next item with another recording and another caption; next: the next item, whatever it is
    neg_pair: Literal["distinct", "next"] = "distinct"
    # Of an epoch's queries, how many are asked of another recording, which does not hold them: other ones in
    # each epoch. The report's systems learn only from recordings that hold what is asked for.
    absent_share: float = 0.0

    def __post_init__(self) -> None:
        require_range(self, ("min_length_s",), high=MAX_SECONDS)
        require_range(self, ("max_moments",), low=1)
        require_range(self, ("absent_share",), high=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceConfig:
    """From outputs to ranked moments."""

    # Who answers. decoder: its windows, as in the report. curve: moments read off the saliency of all seconds
    # (`answer.readout`). both: the decoder's windows join as candidates, which the curve scores once it is
    # calibrated; until then it answers alone.
    readout: Literal["curve", "decoder", "both"] = "decoder"
    # report: proposals, clipping, rounding, NMS, ten moments; reference: Lighthouse's order of operations
    procedure: Literal["report", "reference"] = "report"
    quality_power: float = 1.5  # gamma of report Eq. 3; used if the model has a quality head
    num_moments: int | None = 10
    min_length_s: float = 1.0  # an empty moment grows to it; 0 is the reference
    # end of the timeline: the annotated duration, or max(duration, rows * row_s), or fixed seconds
    timeline_end: Literal["duration", "features"] | float = "duration"
    nms_iou: float | None = None  # 0.7 with proposals; the report names NMS only together with them
    short_proposals: bool = False  # report, S5 and up
    proposal_lengths: tuple[int, ...] = (1, 2, 3)  # rows; 46 % of CASTELLA's moments last at most 3 s
    proposal_score: float = 0.25  # report: base coefficient
    proposal_peaks: int = 5
    proposal_threshold: float = 0.5  # of saliency scaled to [0, 1]
    proposal_distance: int = 2  # rows within which a second peak is not taken

    def __post_init__(self) -> None:
        require_range(self, ("quality_power", "proposal_score"))
        require_range(self, ("min_length_s",), high=MAX_SECONDS)
        require_range(self, ("num_moments",), low=1)
        require_range(self, ("nms_iou", "proposal_threshold"), high=1)
        require_range(self, ("proposal_peaks",), low=1, high=MAX_COUNT)
        require_range(self, ("proposal_distance",), high=MAX_COUNT)
        if not isinstance(self.timeline_end, str):
            require_range(self, ("timeline_end",), above=True)
        possible = self.proposal_lengths and all(1 <= length <= MAX_COUNT for length in self.proposal_lengths)
        _require(bool(possible), f"proposal_lengths must be whole numbers from 1 to {MAX_COUNT}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """The recipe: report and baseline agree on it."""

    epochs: int = 200
    batch_size: int = 32
    valid_batch_size: int = 100
    batching: Literal["shuffle", "length"] = "shuffle"  # length: less padding, other batches
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    lr_drop: int = 400  # epochs between steps of the schedule; 400 keeps it constant, UVCOM's file: 100
    lr_gamma: float = 0.1
    max_grad_norm: float = 0.1
    seed: int = 2023
    select_by: Literal["R1@0.5", "R1@0.7", "mAP"] = "R1@0.7"  # official baseline; Lighthouse watches mAP
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    compile: bool = False
    save_every_s: float = 30.0  # of checkpoint-last.pt: what a kill can cost

    def __post_init__(self) -> None:
        require_range(self, ("epochs", "batch_size", "valid_batch_size", "lr_drop"), low=1)
        require_range(self, ("learning_rate", "max_grad_norm", "lr_gamma"), above=True)
        require_range(self, ("weight_decay", "save_every_s"))
        require_range(self, ("seed",), high=MAX_SEED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentConfig:
    """All of it: what a checkpoint carries and `config.yml` shows."""

    system: str = "S1"  # a name for logs; nothing depends on it
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    features: FeatureConfig = dataclasses.field(default_factory=FeatureConfig)
    targets: TargetConfig = dataclasses.field(default_factory=TargetConfig)
    inference: InferenceConfig = dataclasses.field(default_factory=InferenceConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    # old name -> today's, dotted: settings, overrides and checkpoints of earlier versions keep loading
    RENAMED: ClassVar[Mapping[str, str]] = {
        "targets.encoder": "features.encoder",
        "targets.windows": "features.windows",
        "targets.clip_s": "features.row_s",
        "targets.audio_max": "features.audio_max",
        "targets.stretch_rows": "features.stretch_rows",
        "targets.text_max": "features.text_max",
        "targets.audio_normalise": "features.audio_normalise",
        "targets.text_normalise": "features.text_normalise",
        "targets.window_policy": "targets.moment_policy",
        "targets.max_windows": "targets.max_moments",
        "targets.saliency_windows": "targets.saliency_moments",
        "targets.sim_windows": "targets.sim_moments",
        "inference.num_windows": "inference.num_moments",
        "inference.clip_end": "inference.timeline_end",
    }

    def __post_init__(self) -> None:
        similar = self.model.refiner == "cim" or self.loss.similarity == 0
        _require(similar, "loss.similarity needs model.refiner: cim")
        _require(self.model.quality_head or self.loss.quality == 0, "loss.quality needs model.quality_head")
        every = self.targets.saliency_moments == "all"
        _require(self.loss.frame == 0 or every, "loss.frame needs targets.saliency_moments: all")

    @property
    def max_moments(self) -> int:
        """Moments of one query that become targets: never more than there are queries to match."""
        return self.targets.max_moments or self.model.num_queries


# The parts of the report's table (one column each), and ours, as settings over the baseline.
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "refinement": {"model": {"refiner": "cim"}, "loss": {"similarity": 0.5}},
    "dense_saliency": {"targets": {"saliency_moments": "all"}},
    "short_proposals": {"inference": {"short_proposals": True, "nms_iou": 0.7}},
    "boundary_loss": {"loss": {"boundary": 0.05}},
    "quality": {"model": {"quality_head": True}, "loss": {"quality": 1.0}},
    # Not the report's: moments are read off the curve of seconds, which learns to be a probability. The sum
    # over all seconds of the negative text weighs a hundred of them as much as the frame loss weighs ten, and
    # pushes the curve down instead (benchmarks/read_out.md: what was tried).
    "read_out": {"loss": {"frame": 10.0, "neg_reduction": "mean"}, "inference": {"readout": "curve"}},
}

SYSTEMS: dict[str, tuple[str, ...]] = {
    "S1": (),
    "S2": ("refinement",),
    "S3": ("refinement", "quality"),
    "S4": ("refinement", "dense_saliency"),
    "S5": ("refinement", "dense_saliency", "short_proposals"),
    "S6": ("refinement", "dense_saliency", "short_proposals", "boundary_loss"),
    "S7": ("refinement", "dense_saliency", "short_proposals", "quality"),
    "S8": ("refinement", "dense_saliency", "short_proposals", "boundary_loss", "quality"),
    "S9": ("refinement", "dense_saliency", "read_out"),
}
REPORT_SYSTEMS = tuple(name for name in SYSTEMS if "read_out" not in SYSTEMS[name])


def system(name: str) -> ExperimentConfig:
    """One of the systems S1 to S9: the baseline plus the parts that its row of the table marks.

    Raises:
        ConfigError: there is no such system.
    """
    if name not in SYSTEMS:
        raise ConfigError(f"no system {name!r}", "--system", f"take one of {', '.join(SYSTEMS)}")
    values: dict[str, Any] = {"system": name, "targets": {"saliency_moments": "first"}}
    for part in SYSTEMS[name]:
        for section, settings in PARTS[part].items():
            values[section] = values.get(section, {}) | settings
    return build_config(ExperimentConfig, values, where=name)


# What a trained network can still be told: how features are read, how its outputs become answers, how many
# queries are answered together. Everything else is in its weights, and setting it would change nothing.
SETTABLE = (
    "inference",
    "features",
    "targets.time_scale",
    "train.valid_batch_size",
    "train.precision",
)


def override_answering(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """The settings of a trained network with those overrides that may still change.

    Raises:
        ConfigError: an override is malformed, or concerns what the weights were trained with.
    """
    for key in keys_of(type(config), overrides):
        if not any(key == name or key.startswith(f"{name}.") for name in SETTABLE):
            raise ConfigError(
                f"{key} was settled by training",
                "--set",
                f"what can be set here: {', '.join(SETTABLE)}",
            )
    return override(config, overrides)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ConfigError(otherwise)
