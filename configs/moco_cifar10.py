"""MoCo-v2's fidelity check: the official CIFAR-10 notebook (colab/moco_cifar10_demo.ipynb).

    python -m dermjax.main --config=configs/moco_cifar10.py:data=FOLDER
    python -m dermjax.main --config=configs/moco_cifar10.py:data=FOLDER,epochs=400,symmetric=true

FOLDER holds the unpacked files of https://www.cs.toronto.edu/~kriz/cifar.html (python or binary).
To expect, kNN accuracy on the 10,000 test images after 200 / 400 / 800 epochs, of the notebook:
82.6 / 86.3 / 88.7 %; with the symmetric loss 85.3 / 88.5 / 89.7 %; 32 % after the first epoch.
The test images serve this one figure; nothing is chosen by it.

Differences: the cosine falls by step, not by epoch; the jitter's order is drawn once a batch;
batches run across the ends of epochs (the notebook drops an epoch's last 336 images); a batch norm
group is a run of neighbours, not every eighth image; the stem starts as the other convolutions do;
the symmetric loss is reported as the mean of its two directions (and trained as their sum).
"""

from ml_collections import ConfigDict

from dermjax.configs import common

_STEPS_PER_EPOCH = 97  # whole batches of 512 in 50,000 images
_ARGUMENTS = {"data": "", "epochs": 200, "symmetric": False}


def get_config(argument: str | None = None) -> ConfigDict:
    """Arguments: data (a folder), epochs, symmetric (true or false)."""
    given = common.parse_argument(argument, _ARGUMENTS)
    config = common.make_config("SS", "scale=paper,model=resnet18_cifar")
    config.task = "pretrain"
    config.scale = "cifar10"
    del config["finetune"]
    config.model.dtype = "float32"
    config.data.source = given["data"]
    config.data.layout = "cifar10"
    config.data.max_side = 32  # px
    config.init.mean = (0.4914, 0.4822, 0.4465)
    config.init.std = (0.2023, 0.1994, 0.2010)
    config.evaluate.batch_size = 512
    pretrain = config.pretrain
    pretrain.steps = given["epochs"] * _STEPS_PER_EPOCH
    pretrain.batch_size = 512
    pretrain.image_size = 32  # px
    pretrain.bn_groups = 8
    pretrain.queue_size = 4096
    pretrain.dim = 128
    pretrain.hidden_dim = 0  # one linear layer
    pretrain.momentum = 0.99
    pretrain.momentum_end = 0.99
    pretrain.temperature = 0.1
    pretrain.symmetric = given["symmetric"]
    pretrain.learning_rate = 0.06
    pretrain.schedule = "cosine"
    pretrain.nesterov = False
    pretrain.weight_decay = 5e-4
    pretrain.augment.update(
        dict(crop_scale=(0.08, 1.0), flip_horizontal=0.5, blur_probability=0.0)
    )  # jitter and grayscale are MoCo-v2's, as in `common`
    pretrain.monitor.every = 5 * _STEPS_PER_EPOCH
    pretrain.monitor.k = 200  # neighbours
    pretrain.monitor.features = "embedding"  # the 128 numbers behind the linear layer
    pretrain.report_every = _STEPS_PER_EPOCH
    pretrain.save_every = 5 * _STEPS_PER_EPOCH
    return config
