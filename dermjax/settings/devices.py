"""Whether a run's batches can be spread over the devices at hand."""

from dermjax.settings.run import RunSettings
from dermjax.settings.stage import StageSettings
from dermjax.training.parallel import Devices


def check_devices(settings: RunSettings, devices: Devices) -> None:
    """Looks at both stages' batches.

    Raises:
      ValueError: a batch, its batch norm groups or its parts cannot; names the nearest numbers that
        can.
    """
    for stage in (settings.pretrain, settings.finetune):
        if stage is not None:
            check_division(stage.batch_size, stage.bn_groups, devices.count, field=stage.SECTION)
            _check_accumulation(stage, devices.count)


def check_division(batch_size: int, bn_groups: int, devices: int, *, field: str) -> None:
    """Whether a global batch and its batch norm groups can be spread over the devices.

    Args:
      field: the section of the config that is named in a refusal, such as `pretrain`.

    Raises:
      ValueError: they cannot; names the nearest numbers that can.
    """
    if batch_size % devices:
        below = batch_size // devices * devices
        near = f"{below} or {below + devices}" if below else f"{devices}"
        raise ValueError(
            f"config.{field}.batch_size = {batch_size} cannot be divided over {devices} devices; "
            f"the nearest that can: {near}"
        )
    if bn_groups % devices and devices % bn_groups:
        near = [
            n
            for n in range(1, batch_size + 1)
            if batch_size % n == 0 and (n % devices == 0 or devices % n == 0)
        ]
        best = min(near, key=lambda n: abs(n - bn_groups))
        raise ValueError(
            f"config.{field}.bn_groups = {bn_groups} cannot be spread over {devices} devices: one "
            f"must divide the other; the nearest that can: {best}"
        )


def _check_accumulation(stage: StageSettings, devices: int) -> None:
    """Whether a device's share of the batch falls into parts of whole batch norm groups."""
    name = stage.SECTION
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
