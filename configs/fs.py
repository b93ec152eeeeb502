"""FS: fine-tuning on the labelled share from random weights.

    python -m dermjax.main --config=configs/fs.py:alpha=0.1

The paper at alpha = 10 %: macro precision .377, macro sensitivity .325 (from its Table 1).
"""

from dermjax.configs import common


def get_config(argument=None):
    """Arguments: alpha, trial, scale, data, model (see `common.ARGUMENTS`)."""
    return common.make_config("FS", argument)
