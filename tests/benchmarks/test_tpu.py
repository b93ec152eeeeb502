"""The compiler's estimates are read as they stand in the program; a tiny network compiles for TPU."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import _tpu_cost
import _tpu_rows
import pytest
import tpu
