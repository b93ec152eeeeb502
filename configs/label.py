"""Which photographs to label next, and whether choosing them helps, tried on labels that are known.

    python -m dermjax.main --config=configs/label.py:run=runs/mine,count=100
    python -m dermjax.main --config=configs/label.py:run=runs/mine,trial=simulate
    python -m dermjax.main --config=configs/label.py:run=runs/mine,data=clinic/photos2.csv
    python -m dermjax.main --config=configs/label.py:run=runs/mine,classes=acne+eczema

The first writes `label/next.csv`, to be filled in, and `label/label.html`, to label on with keys;
both into the run's folder, or that of --workdir. A pretraining alone (`task=pretrain`) will do: no
label is needed, but the page then needs the classes by name. `data=` names a newer table of the
same photographs, with the labels that were given since; who is in the run's validation or test set
is never asked about. `trial=simulate` hides the labels of the training images, asks for them by
every method, and writes what each would have gained over random choice on the validation patients:
`label/simulation.json` and `.html`, or `simulation_finetune.json` and `.html`. It may be killed and
continued, and more seeds are added to those there are. With `classifier=finetune` the network
itself learns from the labels, not a logistic regression on its frozen features. The test set is not
touched.
"""

from ml_collections import ConfigDict

from dermjax.configs import common

_ARGUMENTS = {
    "run": "",  # folder of a run of ss.py, ss_in.py, in.py or fs.py
    "data": "",  # a newer table of the run's photographs, with more labels; '': the run's own
    "encoder": "auto",  # pretrain | start | finetune; auto: pretrain where there is one, else start
    "classes": "",  # for the page's buttons, such as acne+eczema, beside those of the table
    "count": 100,  # photographs of a batch
    "trial": "",  # simulate: choose among labels that are known, and measure
    # random | typicality | coverage | margin | entropy | handover (typicality, then margin); auto:
    # the best of those that the simulation found better than random; random where it found none;
    # handover where there was no simulation
    "method": "auto",
    # What learns from the labels, and says what is uncertain. probe: a logistic regression on the
    # features; finetune: the network, trained as the run's own classifier is. Of a simulation each
    # is another one, and that of finetune trains seeds x methods x rounds networks.
    "classifier": "probe",
    "per_patient": 1,  # photographs of one patient in a batch
    "seed": 0,  # of the choice, and the first of a simulation
    "start": 50,  # simulation: labels before the first choice, drawn at random by patient
    "rounds": 5,  # simulation: batches of `count`
    "seeds": 10,  # simulation: repetitions, each from other first labels
}


def get_config(argument: str | None = None) -> ConfigDict:
    """The config; `run=FOLDER` must be given, the others of `_ARGUMENTS` may be.

    Raises:
      ValueError: an argument that is not known or has the wrong type.
    """
    config = ConfigDict({"task": "label", **common.parse_argument(argument, _ARGUMENTS)})
    config.finetune_steps = 0  # of classifier=finetune; 0: the run's own
    config.shown = 200  # photographs on the page at most; next.csv has all
    config.image_size = 0  # px; 0: what the encoder was trained at
    config.batch_size = 64  # images
    return config
