"""Every field of a config against its bounds, before anything is made or trained."""

from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from dermjax import models, stores
from dermjax.data import layouts, links, near_duplicates, partners, pipeline, records
from dermjax.settings import first_weights
from dermjax.settings.augmentation import make_augmentation
from dermjax.steps import moco
from dermjax.strategies import STRATEGIES, file_name
from dermjax.training.parallel import Devices, check_division

_SELECT = ("macro_sensitivity", "accuracy", "log_loss")
_LOSSES = ("cross_entropy", "focal")
_CLASS_WEIGHTS = ("none", "effective_number")
_DTYPES = ("auto", "float32", "bfloat16")
_TASKS = ("run", "pretrain")
_SCHEDULES = ("cosine", "step", "constant")


def check(config: ConfigDict) -> None:
    """Looks at every field that a user can set.

    Raises:
      ValueError: the first field that is out of bounds, with its value, the bound and the remedy.
    """
    for field, value, bound, holds in _rules(config):
        if not holds(value):
            raise ValueError(
                f"config.{field} = {value!r}, but it must be {bound}; "
                f"set it with --config.{field}=VALUE{_argument(field)}"
            )
    try:
        links.check_allow(config.data.allow)
    except ValueError as error:
        raise ValueError(f"config.data.allow: {error}") from None
    if config.model.name not in models.list_models():
        models.create(config.model.name, num_classes=0)  # names what there is, and the nearest
    for stage in ("pretrain", "finetune"):
        if stage in config:
            _check_stage(stage, config[stage])
    if "finetune" in config:
        _check_imbalance(config.finetune)
    _check_strategy(config)
    if config.control and "pretrain" not in config:
        raise ValueError(
            f"config.control = True: {config.strategy} has no pretraining to go without; leave it "
            "False, or take configs/ss.py"
        )
    if STRATEGIES[config.strategy].pretrains:
        _check_moco(config)
        if config.pretrain.directory:
            stores.writable_folder(config.pretrain.directory)
    _check_weights(config)


def _rules(config: ConfigDict) -> Iterator[tuple[str, object, str, Callable]]:
    """(field, value, bound in words, test) of all plain bounds."""
    at_least = lambda low: (f"at least {low}", lambda v: v >= low)  # noqa: E731
    above = lambda low: (f"above {low}", lambda v: v > low)  # noqa: E731
    one_of = lambda names: ("one of " + ", ".join(names), lambda v: v in names)  # noqa: E731
    share = ("at least 0 and below 1", lambda v: 0 <= v < 1)
    rules = {
        "task": one_of(_TASKS),
        "strategy": one_of(tuple(STRATEGIES)),
        "seed": at_least(0),
        "patience": above(0),
        "model.drop_rate": share,
        "model.drop_path_rate": share,
        "model.dtype": one_of(_DTYPES),
        "data.alpha": ("above 0 and at most 1", lambda v: 0 < v <= 1),
        "data.trial": at_least(0),
        "data.on_bad_image": one_of(layouts.POLICIES),
        "data.near_duplicates": (
            f"at least 0 and at most {near_duplicates.BITS}",
            lambda v: 0 <= v <= near_duplicates.BITS,
        ),
        "data.split_seed": at_least(0),
        "data.max_side": at_least(8),
        "data.records": one_of(tuple(records.FORMS)),
        "data.workers": at_least(0),
        "data.read_threads": at_least(1),
        "data.prefetch_batches": at_least(1),
        "data.synthetic.seed": at_least(0),
        "evaluate.batch_size": at_least(1),
        "finetune.encoder_rate": ("above 0 and at most 1", lambda v: 0 < v <= 1),
        "finetune.label_smoothing": share,
        "finetune.sampling": one_of(pipeline.SAMPLINGS),
        "finetune.loss": one_of(_LOSSES),
        "finetune.focal_gamma": at_least(0),
        "finetune.class_weights": one_of(_CLASS_WEIGHTS),
        "finetune.effective_number_beta": share,
        "finetune.logit_adjustment": at_least(0),
        "finetune.select": one_of(_SELECT),
        "finetune.evaluate_every": at_least(1),
    }
    for stage in ("pretrain", "finetune"):
        rules |= {
            f"{stage}.steps": at_least(1),
            f"{stage}.batch_size": at_least(1),
            f"{stage}.image_size": at_least(16),
            f"{stage}.bn_groups": at_least(1),
            f"{stage}.accumulate_steps": at_least(1),
            f"{stage}.learning_rate": above(0),
            f"{stage}.schedule": one_of(_SCHEDULES),
            f"{stage}.weight_decay": at_least(0),
            f"{stage}.report_every": at_least(1),
        }
    rules |= {
        "pretrain.init": one_of(("random", "imagenet")),
        "pretrain.positives": one_of(partners.KINDS),
        "pretrain.repeat": ("at least 0 and at most 1000", lambda v: 0 <= v <= 1000),
        "pretrain.optimizer": one_of(("sgd", "adamw")),
        "pretrain.save_every": at_least(1),
        "pretrain.queue_size": at_least(0),
        "pretrain.monitor.every": at_least(0),
        "pretrain.monitor.k": at_least(0),
        "pretrain.monitor.temperature": above(0),
        "pretrain.monitor.features": one_of(("encoder", "embedding")),
        "pretrain.dim": at_least(1),
        "pretrain.hidden_dim": at_least(0),
        "pretrain.momentum": ("at least 0 and below 1", lambda v: 0 <= v < 1),
        "pretrain.temperature": above(0),
        "pretrain.sgd_momentum": share,
        "pretrain.decay": ("above 0 and at most 1", lambda v: 0 < v <= 1),
        "pretrain.milestones": (
            "ascending shares of the steps between 0 and 1",
            lambda v: all(0 < m < 1 for m in v) and list(v) == sorted(set(v)),
        ),
    }
    for field, (bound, holds) in rules.items():
        section = field.split(".")[0]
        if section in config:
            yield field, _value(config, field), bound, holds


def _value(config: ConfigDict, field: str):
    for name in field.split("."):
        config = config[name]
    return config


def _argument(field: str) -> str:
    """Some fields are also arguments of the config file."""
    name = field.removeprefix("data.")
    return f" or {name}=VALUE behind the config's colon" if name in ("alpha", "trial") else ""


def _check_strategy(config: ConfigDict) -> None:
    """Whether the strategy is that of the config's file, and has what is asked of it."""
    strategy = STRATEGIES[config.strategy]
    if strategy.pretrains != ("pretrain" in config):
        raise ValueError(
            f"config.strategy = {strategy.name!r} does not belong to the other fields of this "
            f"config: take configs/{file_name(strategy.name)}.py"
        )
    if config.task == "pretrain" and not strategy.pretrains:
        raise ValueError(
            f"config.task = 'pretrain' needs strategy SS or SS-IN, not {strategy.name}: take "
            "configs/ss.py or configs/ss_in.py"
        )
    if strategy.pretrains and strategy.from_weights and config.pretrain.init != "imagenet":
        raise ValueError(
            f"config.pretrain.init = {config.pretrain.init!r}, but {strategy.name} starts from "
            "weights: leave it at imagenet, or take configs/ss.py"
        )


def _check_stage(name: str, stage: ConfigDict) -> None:
    """What ties the fields of one training stage together."""
    if not 0 <= stage.warmup_steps < stage.steps:
        raise ValueError(
            f"config.{name}.warmup_steps = {stage.warmup_steps} must be at least 0 and below "
            f"{name}.steps = {stage.steps}"
        )
    for every in ("save_every", "evaluate_every"):
        if every in stage and stage[every] % stage.report_every:
            raise ValueError(
                f"config.{name}.{every} = {stage[every]} must be a multiple of "
                f"{name}.report_every = {stage.report_every}"
            )
    if stage.batch_size % stage.bn_groups:
        divisors = [n for n in range(1, stage.batch_size + 1) if stage.batch_size % n == 0]
        near = min(divisors, key=lambda n: abs(n - stage.bn_groups))
        raise ValueError(
            f"config.{name}.bn_groups = {stage.bn_groups} does not divide {name}.batch_size = "
            f"{stage.batch_size}; the nearest that does is {near}"
        )
    if stage.batch_size == stage.bn_groups:
        raise ValueError(
            f"config.{name}.bn_groups = {stage.bn_groups} leaves one image to a batch norm group; "
            "take fewer groups or a larger batch"
        )
    try:
        make_augmentation(stage, models.Preprocessing())
    except ValueError as error:
        raise ValueError(f"config.{name}.augment: {error}") from None


def _check_imbalance(stage: ConfigDict) -> None:
    """Which remedies for rare classes go together: unequal counts are to be made up for once."""
    off = {"sampling": "uniform", "class_weights": "none", "logit_adjustment": 0.0}
    used = [name for name in off if stage[name] != off[name]]
    if len(used) > 1:
        first, second = used[:2]
        raise ValueError(
            f"config.finetune.{first} = {stage[first]!r} and finetune.{second} = "
            f"{stage[second]!r} both make up for unequal classes: together they would count the "
            f"rare ones twice; set --config.finetune.{second}={off[second]}, or "
            f"--config.finetune.{first}={off[first]}"
        )
    reasons = {}
    if stage.loss == "focal":
        reasons["loss"] = "the focal loss is defined for one true class, not for a spread target"
    if stage.logit_adjustment:
        reasons["logit_adjustment"] = (
            "the even share that smoothing gives every class would be divided by the class's "
            "share of the images, and favour the rarest for any image"
        )
    for name, reason in reasons.items():
        if stage.label_smoothing:
            raise ValueError(
                f"config.finetune.{name} = {stage[name]!r} needs finetune.label_smoothing = 0, not "
                f"{stage.label_smoothing}: {reason}; set --config.finetune.label_smoothing=0"
            )


def _check_weights(config: ConfigDict) -> None:
    """What can be said of the first weights before anything is read or downloaded."""
    name = config.model.name
    try:
        models.Preprocessing(
            **{field: config.init[field] for field in ("mean", "std") if config.init[field]}
        )
    except ValueError as error:
        raise ValueError(f"config.init: {error}") from None
    if not first_weights.starts_from_weights(config):
        if config.init.weights:
            raise ValueError(
                f"config.init.weights = {config.init.weights!r} would not be used by strategy "
                f"{config.strategy}; leave it empty, or take configs/in.py or configs/ss_in.py"
            )
        return
    if not first_weights.named_weights(config):
        known = [name for name in models.list_models() if models.default_weights(name)]
        raise ValueError(
            f"no ImageNet weights are published for {name}; name a file with its weights by "
            f"--config.init.weights=FILE, or take one of {', '.join(known)}"
        )
    try:
        models.check_weights_name(first_weights.named_weights(config), name)
    except ValueError as error:
        raise ValueError(f"config.init.weights: {error}") from None


def _check_moco(config: ConfigDict) -> None:
    """What only contrastive learning asks."""
    pretrain = config.pretrain
    if pretrain.batch_size < 2:
        raise ValueError("config.pretrain.batch_size = 1, but a contrast needs at least 2 images")
    keys = moco.keys_per_step(pretrain.batch_size, symmetric=pretrain.symmetric)
    if 0 < pretrain.queue_size < keys:
        raise ValueError(
            f"config.pretrain.queue_size = {pretrain.queue_size} must be at least {keys}: the keys "
            f"of one step (pretrain.batch_size = {pretrain.batch_size}"
            f"{', symmetric' if pretrain.symmetric else ''}) have to fit; 0 fits two steps'"
        )
    if not pretrain.momentum <= pretrain.momentum_end < 1:
        raise ValueError(
            f"config.pretrain.momentum_end = {pretrain.momentum_end} must lie between "
            f"pretrain.momentum = {pretrain.momentum} and 1; equal is constant"
        )
    if pretrain.monitor.every % pretrain.report_every:
        raise ValueError(
            f"config.pretrain.monitor.every = {pretrain.monitor.every} must be a multiple of "
            f"pretrain.report_every = {pretrain.report_every}"
        )


def check_devices(config: ConfigDict, devices: Devices) -> None:
    """Whether the batches can be spread over the devices at hand.

    Raises:
      ValueError: a batch, its batch norm groups or its parts cannot; names the nearest numbers that
        can.
    """
    for name in ("pretrain", "finetune"):
        if name in config:
            check_division(
                config[name].batch_size, config[name].bn_groups, devices.count, field=name
            )
            _check_accumulation(name, config[name], devices.count)


def _check_accumulation(name: str, stage: ConfigDict, devices: int) -> None:
    """Whether a device's share of the batch falls into parts of whole batch norm groups."""
    parts, groups, batch = stage.accumulate_steps, stage.bn_groups, stage.batch_size
    held = max(1, groups // devices)  # where a group spans devices, each has its run of one
    if held % parts == 0:
        return
    possible = [n for n in range(1, held + 1) if held % n == 0]
    near = [max(n for n in possible if n < parts), *[n for n in possible if n > parts][:1]]
    least = devices * parts
    # At least two images to a group, as everywhere.
    fitting = [n for n in range(least, batch // 2 + 1, least) if batch % n == 0]
    if fitting:
        wanted = f"{name}.bn_groups = {min(fitting, key=lambda n: abs(n - groups))}"
    else:
        wanted = f"bn_groups = {least} and a batch_size that {least} divides, at least {2 * least}"
    raise ValueError(
        f"config.{name}.accumulate_steps = {parts} would tear batch norm groups apart and train "
        f"another network: of {name}.bn_groups = {groups} a device (of {devices}) holds {held}; "
        f"the nearest that can: {' or '.join(map(str, near))}; {parts} needs {wanted}"
    )
