"""Linear probe: logistic regression on the frozen features of a run's encoder.

    python -m dermjax.main --config=configs/probe.py:run=runs/mine
    python -m dermjax.main --config=configs/probe.py:run=runs/mine,alpha=0.1,trial=2
    python -m dermjax.main --config=configs/probe.py:run=runs/mine,encoder=start

Seconds after the first time: features are computed once per encoder and kept in the run's folder,
`features-ENCODER.npz`, for other programs too. C is chosen on validation; the test set is
predicted once by the chosen one.
"""

from ml_collections import ConfigDict

from dermjax.configs import common

_ARGUMENTS = {
    "run": "",  # folder of a run of ss.py, ss_in.py, in.py or fs.py
    "encoder": "auto",  # pretrain | start | finetune; auto: pretrain where there is one, else start
    "alpha": 0.0,  # share of the training images that keep their labels; 0: the run's own
    "trial": -1,  # which labelled subset; -1: the run's own. At alpha 1 all are the same
}


def get_config(argument: str | None = None) -> ConfigDict:
    """Arguments: run, encoder, alpha, trial (see `_ARGUMENTS`)."""
    config = ConfigDict({"task": "probe", **common.parse_argument(argument, _ARGUMENTS)})
    config.image_size = 0  # px; 0: what the encoder was trained at
    config.batch_size = 64  # images
    config.cs = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strengths of the penalty
    config.balanced = False  # each class weighs the same in the loss, however many images it has
    config.select = "macro_sensitivity"  # or accuracy, on validation
    return config
