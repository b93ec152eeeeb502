"""Hand on a finished run's network: a folder to load, or its weights under timm's names.

    python -m dermjax.export runs/mine exported                     # a folder, with a model card
    python -m dermjax.export runs/mine classifier.safetensors
    python -m dermjax.export runs/mine encoder.safetensors --stage=pretrain

`dermjax.load("exported")` answers on photographs.
In PyTorch: `timm.create_model(NAME, num_classes=N, checkpoint_path=FILE)`. In dermjax:
`dermjax.create_model(NAME, num_classes=N, weights=FILE)`, or `--config.init.weights=FILE` of a run.
"""

import argparse
import sys

from dermjax.cli import command_line


def main(arguments: list[str] | None = None) -> int:
    """The command; a user's mistake ends as one line."""
    parser = argparse.ArgumentParser(
        prog="python -m dermjax.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("file", help="what to write, ends in .safetensors")
    parser.add_argument("--stage", choices=("finetune", "pretrain"), default="finetune")
    given = parser.parse_args(arguments)
    from dermjax.experiment import export  # imports jax: help need not wait for it

    try:
        print(export.export(given.run, given.file, given.stage))
    except (ValueError, OSError) as error:
        return command_line.refuse(str(error), error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
