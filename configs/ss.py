"""SS: MoCo-v2 on all training images without labels, then fine-tuning on the labelled share.

    python -m dermjax.main --config=configs/ss.py:alpha=0.1
    python -m dermjax.main --config=configs/ss.py:alpha=0.1,scale=demo

The paper at alpha = 10 %: accuracy .877, macro precision .817, macro sensitivity .686.
"""

from dermjax.configs import common


def get_config(argument=None):
    """Arguments: alpha, trial, scale, data, model (see `common.ARGUMENTS`)."""
    return common.make_config("SS", argument)
