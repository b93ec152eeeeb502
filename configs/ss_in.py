"""SS-IN: MoCo-v2 that starts from ImageNet weights, then fine-tuning on the labelled share.

    python -m dermjax.main --config=configs/ss_in.py:alpha=0.1
    python -m dermjax.main --config=configs/ss_in.py:alpha=0.1 --config.init.weights=FILE

`pretrain.init` is imagenet; all else is as in ss.py, but that the demo's network is B0, which has
ImageNet weights. The paper (Kramer et al. 2022) has no such strategy. Others report: +6.7 points of
top-1 accuracy on dermatology over supervised ImageNet weights (Azizi et al. 2021, arXiv
2101.05224); up to 80 times faster convergence (HPT: Reed et al. 2021, arXiv 2103.12718); most use
below 1,500 samples of skin lesions (Chaves et al. 2021, arXiv 2106.09229). They start from
self-supervised ImageNet weights (timm's are supervised; FILE may be others) and train long.

A short training can cost more than it gives. Balanced accuracy of a linear probe on HAM10000's
validation images with 10 % / all of the labels (Lite0, 64 px, one seed): .363 / .488 of the
ImageNet weights, .334 / .413 after 12 epochs with MoCo-v2's colour jitter, .362 / .461 after 8 with
hue .02, saturation .1, no grey and crops from .3 (`pretrain.augment`).
"""

from dermjax.configs import common


def get_config(argument=None):
    """Arguments: alpha, trial, scale, data, model (see `common.ARGUMENTS`)."""
    return common.make_config("SS-IN", argument)
