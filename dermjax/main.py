"""Train and evaluate one run, or the whole study.

    python -m dermjax.main --config=configs/ss.py:alpha=0.1,scale=demo
    python -m dermjax.main --config=configs/ss.py:alpha=0.1,data=clinic/photos.csv --workdir=runs/a

--config=FILE:ARGUMENTS   configs/ss.py (MoCo-v2), ss_in.py (MoCo-v2 from ImageNet weights), in.py
                          (ImageNet) or fs.py (from scratch), with
                          alpha=0.1  share of the training images that keep their labels
                          trial=0    which labelled subset
                          scale=paper|small|demo
                          data=synthetic|manifest.csv|folder, or gs://...
                          model=efficientnet_b0 ... b7, resnet18, resnet50
                          configs/study.py:alphas=0.1+1.0,trials=3, all of them and the report
                          configs/predict.py:run=FOLDER,images=FOLDER, answers on photographs
                          configs/probe.py:run=FOLDER, a linear probe of a run's features
                          configs/saliency.py:run=FOLDER, where a run's network looks
                          configs/label.py:run=FOLDER,count=100, what to label next
                          configs/moco_cifar10.py:data=FOLDER, the official CIFAR-10 check
--config.FIELD=VALUE      any other field, e.g. --config.finetune.steps=5000
--workdir=FOLDER          where results go; by default runs/ and a name made from the config;
                          gs://BUCKET/... needs pip install -e '.[gcs]', and locks nobody out
The same command again continues where it stopped.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from dermjax.cli import command_line

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config of the run.")
_WORKDIR = flags.DEFINE_string("workdir", "", "Folder of the results.")


def main(_) -> int:
    """Runs what the flags say; a user's mistake ends as one line, not as a traceback."""
    command_line.silence_libraries()
    if _CONFIG.value is None:
        return command_line.refuse("--config is missing, as in --config=configs/ss.py:alpha=0.1")
    # Imports jax: help and a mistyped flag need not wait for it.
    import jax

    from dermjax.cli import task
    from dermjax.training import processes

    try:
        return task.start(_CONFIG.value, _WORKDIR.value)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return command_line.refuse(
                f"{processes.named()}the device's memory is too small; a step in parts needs less: "
                "--config.finetune.accumulate_steps=2 (or pretrain), or a smaller batch_size",
                error,
            )
        if processes.alone():
            raise
        processes.leave(error)
    except Exception as error:
        if processes.is_lost(error):
            processes.leave(error)
        # OSError: a full disk, a file that may not be read
        if not (isinstance(error, ValueError | OSError) or command_line.is_of_store(error)):
            raise
        return command_line.refuse(processes.named() + command_line.in_words(error), error)
    except KeyboardInterrupt:
        print("dermjax: stopped; the same command continues it", file=sys.stderr)
        return 130  # as a shell has it for Ctrl-C


def cli() -> None:
    """The console script `dermjax`."""
    if {"--help", "-h", "--helpshort"} & set(sys.argv[1:]):
        print(__doc__)
        return
    command_line.restart_with_huge_pages()
    app.run(command_line.ended_quietly(main), flags_parser=command_line.parse)


if __name__ == "__main__":
    cli()
