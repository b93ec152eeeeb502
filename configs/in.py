"""IN: ImageNet weights, then fine-tuning on the labelled share.

    python -m dermjax.main --config=configs/in.py:alpha=0.1
    python -m dermjax.main --config=configs/in.py:alpha=0.1 --config.init.weights=FILE

The first downloads the network's ImageNet weights once (B4: timm/efficientnet_b4.ra2_in1k, 78 MB).

The paper at alpha = 10 %: macro precision .744, macro sensitivity .579 (from its Table 1).
"""

from dermjax.configs import common


def get_config(argument=None):
    """Arguments: alpha, trial, scale, data, model (see `common.ARGUMENTS`)."""
    return common.make_config("IN", argument)
