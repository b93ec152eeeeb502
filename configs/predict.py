"""What a finished run says of photographs, how sure, and which it should not be asked about.

    python -m dermjax.main --config=configs/predict.py:run=runs/mine,images=new/
    python -m dermjax.main --config=configs/predict.py:run=runs/mine,images='new/*.jpg'
    python -m dermjax.main --config=configs/predict.py:run=runs/mine,images=new.csv  # with boxes
    python -m dermjax.main --config=configs/predict.py:run=runs/mine     # its own unlabelled images
    python -m dermjax.main --config=configs/predict.py:run=study/ss-alpha0.1,images=new/

The last one averages all trials `study/ss-alpha0.1-trial0`, `-trial1`, ...: an ensemble. The folder
of the run (--workdir for another one) gets `predictions/predictions.csv`, a row for each photograph
or box, and `predictions/predictions.html`, which opens without a network.
"""

from ml_collections import ConfigDict

from dermjax.configs import common

_ARGUMENTS = {"run": "", "images": "", "tta": 0, "coverage": 0.9}


def get_config(argument: str | None = None) -> ConfigDict:
    """The config; `run=FOLDER` must be given, `images`, `tta` and `coverage` may be.

    Raises:
      ValueError: an argument that is not known or has the wrong type.
    """
    given = common.parse_argument(argument, known=_ARGUMENTS)
    config = ConfigDict()
    config.task = "predict"
    config.run = given["run"]
    # A folder of photographs, a pattern of their names, or a table with the columns of a run's own
    # (image; x, y, w, h for lesions' boxes; redact_x, ...); blank: the run's own unlabelled images.
    config.images = given["images"]
    config.layout = "auto"  # of the folder, as for a run's data
    # Files that are missing, unreadable, or cut short: refuse; skip: leave them out; use: take
    # those that are cut as they are. Both list them.
    config.on_bad_image = "refuse"
    config.redact = ""  # a CSV image,x,y,w,h of what is blacked out
    # Test-time augmentation: 0, or 8 for the mean over flips and quarter turns, which takes eight
    # times as long; it needs the run's data once, to calibrate anew.
    config.tta = given["tta"]
    # Share of new patients whose disease is in the prediction set.
    config.coverage = given["coverage"]
    config.unfamiliar = 0.05  # share of the validation patients that may be flagged as unfamiliar
    config.sensitivity = 0.9  # of each class, that the thresholds of `operating_points.csv` are for
    config.batch_size = 64  # images, global
    config.shown = 300  # photographs on the page, the least certain first
    config.workers = 0  # processes that check the photographs; 0: one per core
    config.read_threads = 4  # that decode
    return config
