"""timm's training step as its users run it: channels_last, and on CUDA bfloat16 autocast."""

from collections.abc import Callable

import numpy as np
from _timm import import_timm

from dermjax.models.efficientnet import VARIANTS


def make_step(config, batch: int, classes: int, *, compiled: bool) -> tuple[Callable, Callable]:
    """One step of AdamW on fixed normalised images, and what waits for the device.

    The images are drawn once: timm's step has no augmentation inside, ours has.
    """
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    if cuda:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    else:
        torch.set_num_threads(1)  # on a busy machine its threads wait for each other in vain
    rates = {name: config.model[name] for name in ("drop_rate", "drop_path_rate")}
    net = make_network(config.model.name, classes, **rates)
    net = net.to(device, memory_format=torch.channels_last).train()
    stage, draw = config.finetune, np.random.default_rng(0)
    optimizer = torch.optim.AdamW(
        net.parameters(), stage.learning_rate, weight_decay=stage.weight_decay, fused=cuda or None
    )
    shape = (batch, stage.image_size, stage.image_size, 3)
    images = torch.from_numpy(draw.standard_normal(shape, np.float32)).to(device)
    images = images.permute(0, 3, 1, 2)  # the strides are channels_last already
    labels = torch.from_numpy(draw.integers(classes, size=batch)).to(device)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=stage.label_smoothing)
    forward = torch.compile(net) if compiled else net

    def call():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = loss_of(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    def wait(loss):
        del loss
        if cuda:
            torch.cuda.synchronize()

    return call, wait


def on_cuda() -> bool:
    """Whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def reset_peak() -> None:
    """Starts the count of `peak_bytes` anew."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_bytes() -> int | None:
    """The most GPU memory torch has allocated since `reset_peak`; None on CPU."""
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def make_network(name: str, classes: int, **rates: float):
    """timm's network of the same name, or the same stages in timm's class where it has no name."""
    timm = import_timm()
    if timm.is_model(name):
        return timm.create_model(name, num_classes=classes, **rates)
    import torch
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    variant = VARIANTS[name]
    blocks = [
        [
            f"{'ir' if s.expansion > 1 else 'ds'}_r{s.depth}_k{s.kernel}_s{s.stride}"
            f"_e{s.expansion}_c{s.width}_se0.25"
        ]
        for s in variant["stages"]
    ]
    return EfficientNet(
        block_args=decode_arch_def(blocks),
        num_features=variant["head"],
        stem_size=variant["stem"],
        act_layer=torch.nn.SiLU,
        num_classes=classes,
        **rates,
    )
