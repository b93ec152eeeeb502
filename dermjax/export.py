"""Hand on a finished run's network, in the form that the path's ending names.

    python -m dermjax.export runs/mine exported            # a folder
    python -m dermjax.export runs/mine mine.safetensors
    python -m dermjax.export runs/mine mine.onnx
    python -m dermjax.export runs/mine mine.stablehlo
    python -m dermjax.export runs/mine encoder.safetensors --stage=pretrain

A folder answers like the run: `dermjax.load("exported")`, and configs/predict.py:run=exported. It
holds the network, its calibration and `card.md`, and nothing of a patient. Files get their model
card beside: mine.onnx.card.md.

.safetensors holds the weights under timm's names, for PyTorch and as a start of other runs:
`timm.create_model(NAME, num_classes=N, checkpoint_path=FILE)`, or here
`dermjax.create_model(NAME, num_classes=N, weights=FILE)` and `--config.init.weights=FILE`.

.onnx turns photographs of any size into probabilities, by onnxruntime without JAX or dermjax; the
names of the classes are in its metadata. Writing it needs `pip install -e '.[onnx]'`.

.stablehlo does so with images of the network's size, by JAX and flatbuffers without dermjax, on
CPUs, GPUs and TPUs; releases of JAX up to 6 months newer than the one that wrote it can read it.
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
    parser.add_argument(
        "file",
        help="a new folder, or a file that ends in .safetensors, .onnx or .stablehlo",
    )
    parser.add_argument("--stage", choices=("finetune", "pretrain"), default="finetune")
    given = parser.parse_args(arguments)
    from dermjax.prediction import export  # imports jax: help need not wait for it

    try:
        print(export.export(given.run, given.file, given.stage))
    except (ValueError, OSError) as error:
        return command_line.refuse(str(error), error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
