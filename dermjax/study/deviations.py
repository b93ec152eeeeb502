"""How a study deviates from the paper: its configuration and records against the authors'.

The paper is Kramer et al., JEADV 2022; of pretraining the authors' public files say more than it.
The values that are theirs stand in `configs/scales.py`, which is compared with.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from dermjax.configs import common
from dermjax.report import wording
from dermjax.settings import PretrainSettings, RunSettings
from dermjax.strategies import STRATEGIES
from dermjax.study import paper_results
from dermjax.study.results import Outcomes
from dermjax.study.settings import StudySettings

_ALPHAS = tuple(round(0.1 * i, 1) for i in range(1, 11))
_TRIALS = 3
_IMAGES = {"training": 20_926, "validation": 6_829, "test": 6_910}
_EPOCHS = 1_200
_NEAR = 0.02  # of a share of the images, or relatively of the epochs: less is no deviation
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Of pretraining, by field: what it is in words.
_PRETRAINING = {
    "init": "first weights",
    "steps": "steps",
    "batch_size": "images of a batch",
    "image_size": "px of a view's side",
    "bn_groups": "batch norm groups of a batch",
    "queue_size": "keys in the queue",
    "dim": "dimensions of an embedding",
    "hidden_dim": "units of the head's hidden layer",
    "head_norm": "batch norm in the head",
    "momentum": "momentum of the key encoder",
    "momentum_end": "momentum of the key encoder at the end",
    "temperature": "temperature",
    "symmetric": "each view query and key",
    "batch_negatives": "keys of the batch as negatives",
    "mask_same_image": "keys of the query's own image left out",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "schedule": "schedule of the learning rate",
    "milestones": "milestones of the schedule",
    "decay": "factor at a milestone",
    "warmup_steps": "steps of warm-up",
    "sgd_momentum": "SGD's momentum",
    "nesterov": "Nesterov's momentum",
    "weight_decay": "weight decay",
}
# Fields that count only where another has a certain value.
ONLY_WITH = {
    "milestones": ("schedule", "step"),
    "decay": ("schedule", "step"),
    "sgd_momentum": ("optimizer", "sgd"),
    "nesterov": ("optimizer", "sgd"),
    "focal_gamma": ("loss", "focal"),
    "effective_number_beta": ("class_weights", "effective_number"),
    "mask_same_image": ("positives", "image"),
}
_COUNTED = " (of {with_partner:,} of {images:,} training images)"
_COLOUR = ("brightness", "contrast", "saturation", "hue")


def _papers() -> RunSettings:
    """What is known of the paper's SS."""
    return RunSettings.from_config(common.make_config("SS", None))


def deviations(settings: StudySettings, outcomes: Outcomes) -> list[str]:
    """Sentences, each with this study's value and the paper's; what is alike is not in it.

    Args:
      settings: of the study.
      outcomes: the runs that the report is of.
    """
    found = [*_of_data(settings, outcomes), *_of_study(outcomes), *_of_networks(settings, outcomes)]
    if outcomes.pretrained():
        found += _of_pretraining(settings, outcomes)
    return found + list(_of_finetuning(settings, outcomes))


def _of_data(settings: StudySettings, outcomes: Outcomes) -> Iterator[str]:
    """Other photographs, classes and sets."""
    results = outcomes.runs[0].results
    n, left_out = results["n"], results["excluded"]["test"]
    own = {"training": n["train"], "validation": n["validation"], "test": n["test"]}
    if own != _IMAGES:
        counts = ", ".join(f"{count:,}" for count in own.values())
        yield (
            f"Photographs: {counts} training, validation and test images; the paper's, which are "
            f"not public, are {', '.join(f'{count:,}' for count in _IMAGES.values())}."
        )
    if not paper_results.are_its_classes(outcomes.classes):
        count = len(outcomes.classes)
        other = ", other ones" if count == 10 else ""
        yield f"Classes: {count}{other}; the paper has ten diseases."
    parts = (own["training"], own["validation"], own["test"] + left_out)
    shares = [part / sum(parts) for part in parts]
    if any(abs(a - b) > _NEAR for a, b in zip(shares, (0.6, 0.2, 0.2), strict=True)):
        yield (
            f"Sets: {', '.join(f'{100 * share:.0f} %' for share in shares)} of the images for "
            "training, validation and test; the paper has about 60, 20 and 20 %."
        )
    if not left_out:
        yield (
            "The test set: no image was left out of it; an expert took those with incorrect or "
            "uncertain diagnoses out of the paper's."
        )
    for name, ids in results["allowed"].items():
        yield f"Sets: {len(ids)} {name} are in two sets, by leave; in the paper no patient is."
    if settings.run.data.max_side != _papers().data.max_side:
        yield f"Crops are at most {settings.run.data.max_side} px long; the paper's 512 px."


def _of_study(outcomes: Outcomes) -> Iterator[str]:
    """Strategies, shares of the labels, trials."""
    strategies = outcomes.strategies()
    if missing := [name for name in paper_results.STRATEGIES if name not in strategies]:
        yield f"Strategies: without {', '.join(missing)}; the paper has SS, IN and FS."
    if further := [name for name in strategies if name not in paper_results.STRATEGIES]:
        yield f"Strategies that the paper does not have: {', '.join(further)}."
    alphas = outcomes.alphas()
    if tuple(alphas) != _ALPHAS:
        shares = ", ".join(f"{100 * alpha:g}" for alpha in alphas)
        yield f"Labelled shares: {shares} %; the paper has 10 to 100 % in steps of 10."
    trials = {len(outcomes.of(s, a)) for s in strategies for a in alphas} - {0}
    if trials != {_TRIALS}:
        counts = " to ".join(str(count) for count in sorted({min(trials), max(trials)}))
        yield f"Trials of each strategy and share: {counts}; the paper has {_TRIALS}."


def _of_networks(settings: StudySettings, outcomes: Outcomes) -> Iterator[str]:
    """The network, what it computes in, and where IN begins."""
    name = settings.run.model.name
    if name != "efficientnet_b4":
        also = " (of ResNet-50 its Figure 5 alone)" if name == "resnet50" else ""
        yield f"Network: {name}; the paper's is efficientnet_b4{also}."
    starts = {run.planned.settings.strategy: run.results["weights"] for run in outcomes.runs}
    if "IN" in starts and settings.run.init.weights:
        yield (
            f"IN starts from {wording.weights(starts['IN']['source'])}, which the user named: "
            "what they were trained on is not known here; the paper's were trained on ImageNet "
            "with labels."
        )
    for strategy, weights in starts.items():
        if "mean" in weights and (tuple(weights["mean"]), tuple(weights["std"])) != _IMAGENET:
            yield (
                f"{strategy}'s images are normalised with mean {tuple(weights['mean'])} and std "
                f"{tuple(weights['std'])}; ImageNet's are {_IMAGENET[0]} and {_IMAGENET[1]}."
            )


def _of_pretraining(settings: StudySettings, outcomes: Outcomes) -> Iterator[str]:
    """Every field that is not the authors', and what follows from several."""
    first, *others = outcomes.pretrained()
    own, theirs = settings.pretraining(first), _papers().pretraining
    images = outcomes.runs[0].results["n"]["train"]
    values = own.to_dict() | {"queue_size": own.queue_length(images)}
    yield from _other_fields("Pretraining", values, theirs.to_dict(), "the authors'")
    positives = positives_in_words(own, first, outcomes)
    if own.positives != theirs.positives:
        yield (
            f"Pretraining, positives: {positives}, and keys of the same {own.positives} are no "
            "negatives; the authors': another view of the image itself, as their data have one "
            "image of each object."
        )
    for strategy in others:
        more = settings.pretraining(strategy)
        if more.positives != own.positives:
            words = positives_in_words(more, strategy, outcomes)
            yield f"{strategy}'s pretraining, positives: {words}; {first}'s: {positives}."
        further = more.to_dict() | {"queue_size": more.queue_length(images)}
        yield from _other_fields(f"{strategy}'s pretraining", further, values, f"{first}'s")
    if settings.pretrainings > 1:
        yield (
            f"Pretrainings: {settings.pretrainings}, one for each trial; the paper names the "
            "labelled subset alone as what its trials differ by."
        )
    epochs = own.steps * own.batch_size / images
    if abs(epochs / _EPOCHS - 1) > _NEAR:
        yield f"Pretraining, epochs: {epochs:,.1f}; the authors': {_EPOCHS:,}."
    if own.bn_groups > 1:
        yield (
            "Batch norm and ShuffleBN in pretraining work by groups of the global batch, the "
            "authors' by devices; its running statistics are the mean over groups, not those of "
            "the first process, which the authors' code sends to the others."
        )
    if settings.run.model.dtype == "float32" or (
        settings.run.model.dtype == "auto" and outcomes.runs[0].results["devices"]["kind"] == "cpu"
    ):
        yield "Pretraining computes in float32; the authors' in mixed precision."


def _other_fields(
    what: str, own: Mapping[str, Any], theirs: Mapping[str, Any], whose: str
) -> Iterator[str]:
    """The fields of two pretrainings that differ and count in the first, each with both values."""
    for field, words in _PRETRAINING.items():
        needed, value = ONLY_WITH.get(field, ("optimizer", own["optimizer"]))
        if own[field] != theirs[field] and own[needed] == value:
            ours, others = wording.value(own[field]), wording.value(theirs[field])
            yield f"{what}, {words}: {ours}; {whose}: {others}."
    for field in sorted(theirs["augment"]):
        ours, others = (wording.value(one["augment"][field], " to ") for one in (own, theirs))
        if ours != others:
            yield f"{what}, augmentation ({field.replace('_', ' ')}): {ours}; {whose}: {others}."


def positives_in_words(stage: PretrainSettings, strategy: str, outcomes: Outcomes) -> str:
    """Where a strategy's positives come from, and of how many images, as its runs have it."""
    if stage.positives == "image":
        return "image"
    own = [run.results for run in outcomes.runs if run.planned.settings.strategy == strategy]
    recorded = next((one["positives"] for one in own if "positives" in one), None)
    counted = _COUNTED.format(**recorded) if recorded else ""
    return f"another photograph of the same {stage.positives}, where there is one{counted}"


def _of_finetuning(settings: StudySettings, outcomes: Outcomes) -> Iterator[str]:
    """What the paper gives of stage 2, and that the rest is not public."""
    own, theirs = settings.run.finetuning, _papers().finetuning
    if own.steps != theirs.steps:
        yield f"Fine-tuning: {own.steps:,} iterations; the paper has {theirs.steps:,}."
    if own.image_size != theirs.image_size:
        yield f"Fine-tuning: images of {own.image_size} px; the paper has {theirs.image_size} px."
    augment = own.augment
    if missing := [
        name
        for name, there in (
            ("random crops", tuple(augment.crop_scale) != (1.0, 1.0)),
            ("flips", augment.flip_horizontal or augment.flip_vertical),
            ("rotation", augment.rotation),
        )
        if not there
    ]:
        yield f"Fine-tuning is without {', '.join(missing)}; the paper has crop, flip and rotation."
    more = [name for name in _COLOUR if augment.jitter_probability and getattr(augment, name)]
    more += [name for name in ("grayscale", "blur") if getattr(augment, f"{name}_probability")]
    if more:
        yield (
            f"Fine-tuning also changes {', '.join(more)} at random; the paper names crop, flip and "
            "rotation."
        )
    runs = [run.planned.settings.strategy for run in outcomes.runs]
    trained = [
        name
        for name in dict.fromkeys(runs)
        if STRATEGIES[name].pretrains or STRATEGIES[name].from_weights
    ]
    if own.encoder_rate != 1 and trained:
        yield (
            f"Fine-tuning: the encoders of {', '.join(trained)}, which were trained before, have "
            f"{own.encoder_rate:g} times the learning rate of their classifiers; the paper names "
            "no such factor."
        )
    named = ("sampling", "class_weights", "loss")
    options = [name for name in named if getattr(own, name) != getattr(theirs, name)]
    options += ["logit_adjustment"] * bool(own.logit_adjustment)
    if options:
        said = ", ".join(f"{name.replace('_', ' ')} {getattr(own, name)}" for name in options)
        yield f"Fine-tuning for rare classes in all runs: {said}; the paper has none."
    yield (
        "Fine-tuning's optimizer, learning rate, batch, ranges of augmentation and rule of "
        "selection are this project's: the paper does not give them."
    )
    yield (
        "In evaluation whole crops are squeezed to a square: the paper does not say what it does."
    )
