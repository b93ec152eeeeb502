"""The sizes that the accelerator benchmark measures, and the ceilings and goals of its figures."""

import dataclasses

import _timing

# Images (MoCo: pairs) a second of an H200 by (kind, px): memory ceilings ideal and unfused.
CEILINGS = {
    ("train", 512): (2575, 1382),
    ("train", 380): (4628, 2484),
    ("moco", 512): (2040, 1013),
    ("moco", 380): (3666, 1820),
}
GOALS = {("train", 512): 900, ("moco", 512): 650}  # 65 % of the unfused ceiling
TIMM_GOAL = 1.3  # times timm with torch.compile


@dataclasses.dataclass(frozen=True)
class Plan:
    """The sizes of everything that is measured."""

    model: str
    size: int  # px of fine-tuning
    side: int  # px of the stored photographs
    batches: tuple[int, ...]  # of fine-tuning
    moco: tuple[tuple[int, int], ...]  # (px, batch)
    queue: int
    hidden: int
    timm_batches: tuple[int, ...]
    layers_batch: int
    dtypes: tuple[str, ...]  # of the depthwise layers
    views_batch: int
    copied: int  # bytes, for the bandwidth
    matrix: int  # side, for the matrix product
    explained: tuple[tuple[int, str, int], ...]  # (px, prior, batch) of InputIBA
    explained_by: dict  # its settings, where they are not the authors'
    limit: int  # no larger batch is tried
    clock: _timing.Clock
    layers_clock: _timing.Clock


PAPER = Plan(
    model="efficientnet_b4",
    size=512,
    side=512,
    batches=(32, 128, 64),
    moco=((380, 64), (512, 64), (380, 128), (512, 128)),
    queue=65_536,
    hidden=2048,
    timm_batches=(32, 128),
    layers_batch=32,
    dtypes=("bfloat16", "float32"),
    views_batch=64,
    copied=2**30,
    matrix=8192,
    explained=((512, "iba", 16), (512, "gan", 4), (300, "iba", 32), (300, "gan", 8)),
    explained_by={},
    limit=4096,
    clock=_timing.Clock(windows=5, seconds=1.0),
    layers_clock=_timing.Clock(windows=5, seconds=0.02),
)
TINY = Plan(
    model="efficientnet_tiny",
    size=32,
    side=40,
    batches=(2, 4),
    moco=((24, 4), (32, 4)),
    queue=64,
    hidden=16,
    timm_batches=(2,),
    layers_batch=2,
    dtypes=("float32", "bfloat16"),
    views_batch=2,
    copied=2**22,
    matrix=256,
    explained=((32, "iba", 2), (32, "gan", 2)),
    explained_by={"steps_feature": 1, "steps_input": 1, "draws": 1}
    | {"gan_epochs": 1, "gan_samples": 4, "gan_groups": 2, "gan_batch_size": 2},
    limit=8,
    clock=_timing.Clock(windows=3, seconds=0.05),
    layers_clock=_timing.Clock(windows=3, seconds=0.005),
)


def against_ceilings(kind: tuple[str, int], rate: float) -> str:
    """The share of an H200's memory ceilings and of the goal, where they are known."""
    if kind not in CEILINGS:
        return ""
    ideal, unfused = CEILINGS[kind]
    text = f"{100 * rate / unfused:.0f} % of H200 ceiling unfused {unfused:,}, "
    text += f"{100 * rate / ideal:.0f} % of ideal {ideal:,}; "
    if kind in GOALS:
        text += f"goal {GOALS[kind]}: {100 * rate / GOALS[kind]:.0f} %; "
    return text
