"""A classifier as one ONNX file: photographs of any size in, probabilities out.

The networks are made of a dozen operations, so their graph is written directly, from their
attributes and parameters, with the package `onnx` alone (of the extra `onnx`). An exporter of JAX
programs would write the form of the depthwise convolution that CPUs get, a sum of k * k slices.
"""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
import onnx
from flax import traverse_util

import dermjax
from dermjax.models.calibrated_network import CalibratedNetwork
from dermjax.models.efficientnet import EfficientNet
from dermjax.models.layers import Padding, symmetric_padding
from dermjax.models.preprocessing import Preprocessing
from dermjax.models.resnet import ResNet

OPSET = 18  # the first whose Resize smooths before it leaves pixels out
IR_VERSION = 8  # the file format of that opset's time, so that old runtimes read it

# How a file is used: the two words after the program's name are the file and a photograph.
EXAMPLE = """\
import json, sys
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
photograph = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
(probabilities,) = session.run(["probabilities"], {"images": np.asarray(photograph)[None]})
for name, probability in zip(classes, probabilities[0].tolist()):
    print(f"{probability:.4f} {name}")
"""


def to_bytes(classifier: CalibratedNetwork) -> bytes:
    """A classifier as the content of an .onnx file, for onnxruntime 1.15 and newer.

    The graph takes `images` `[B, H, W, 3]`, uint8 RGB of any one size. It resizes them to the
    network's input as Pillow does, normalises them, and gives `logits` `[B, N]`, which are the
    network's own, and `probabilities` `[B, N]`, the softmax of the logits over the temperature;
    both are float32.

    Of resized photographs fewer than 1 in 100 numbers differ from Pillow's, by 1 of 255. Pillow
    rounds in another order from version 13 on where the height shrinks much more than the width;
    then a quarter differ by 1, and by more where white meets black from pixel to pixel.

    The file's metadata are `model`, `classes` (a JSON list in the order of the logits), `size` (S,
    px), `temperature`, `preprocessing` (JSON) and `dermjax` (the version).

    Raises:
        ValueError: The network has parts that are not known here.
    """
    model, variables = classifier.model, classifier.variables
    graph = _Graph(variables, model.epsilon(), getattr(model, "padding", symmetric_padding))
    x = _preprocessed(graph, model.preprocessing)
    if isinstance(model, EfficientNet):
        x = _efficientnet(graph, x, model)
    elif isinstance(model, ResNet):
        x = _resnet(graph, x, model)
    _classified(graph, x, model, classifier.temperature)
    if graph.unread:
        raise ValueError(
            f"{model.architecture} cannot be written as ONNX: it is not known what to do with "
            f"{', '.join(sorted(graph.unread)[:3])}; take .safetensors"
        )
    return _file(graph, classifier).SerializeToString()


def _file(graph: "_Graph", classifier: CalibratedNetwork) -> onnx.ModelProto:
    """A whole graph with its inputs, outputs and metadata."""
    model = classifier.model
    images = onnx.helper.make_tensor_value_info(
        "images", onnx.TensorProto.UINT8, ["batch", "height", "width", 3]
    )
    outputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.TensorProto.FLOAT, ["batch", model.num_classes]
        )
        for name in ("probabilities", "logits")
    ]
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants]
    file = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, model.architecture, [images], outputs, constants),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="dermjax",
        producer_version=dermjax.__version__,
    )
    metadata = {
        "model": model.architecture,
        "classes": json.dumps(classifier.classes),
        "size": str(classifier.size),
        "temperature": repr(float(classifier.temperature)),
        "preprocessing": json.dumps(dataclasses.asdict(model.preprocessing)),
        "dermjax": dermjax.__version__,
    }
    onnx.helper.set_model_props(file, metadata)
    return file


class _Maps(NamedTuple):
    """Something of the graph with the shape `[B, channels, side, side]`."""

    name: str
    channels: int
    side: int


class _Graph:
    """Nodes and constants of a graph, which grows by the layers that our networks are made of."""

    def __init__(self, variables: dict[str, Any], epsilon: float, padding: Padding):
        self._variables = traverse_util.flatten_dict(dict(variables), sep="/")
        self._epsilon, self._padding = epsilon, padding
        self.unread = set(self._variables)  # a forgotten layer would go unnoticed otherwise
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[tuple[str, np.ndarray]] = []

    def has(self, module: str) -> bool:
        """Whether there is a convolution of this name."""
        return f"params/{module}/kernel" in self._variables

    def read(self, name: str) -> np.ndarray:
        """One of the variables, float64: what is folded from several is rounded once."""
        self.unread.discard(name)
        return np.asarray(self._variables[name], np.float64)

    def constant(self, name: str, value, dtype=np.float32) -> str:
        """Numbers that the file holds; returns their name."""
        self.constants.append((name, np.asarray(value, dtype)))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes) -> str:
        """One operation; returns the name of its output."""
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    def on_maps(self, operator: str, x: _Maps, *others: str, **attributes) -> _Maps:
        """One operation that keeps the shape."""
        return x._replace(name=self.node(operator, x.name, *others, **attributes))

    def convolution(self, x: _Maps, module: str, norm: str = "", stride: int = 1) -> _Maps:
        """A convolution with a bias, or with a batch normalisation that becomes part of it.

        `stride` is in pixels. A depthwise kernel is known by its single input channel.
        """
        kernel = self.read(f"params/{module}/kernel")  # [k, k, C_in / groups, C_out]
        if norm:
            scale, mean = self.read(f"params/{norm}/scale"), self.read(f"batch_stats/{norm}/mean")
            scale = scale / np.sqrt(self.read(f"batch_stats/{norm}/var") + self._epsilon)
            kernel, bias = kernel * scale, self.read(f"params/{norm}/bias") - mean * scale
        else:
            bias = self.read(f"params/{module}/bias")
        size = kernel.shape[0]
        before, after = self._padding(x.side, size, stride)
        name = self.node(
            "Conv",
            x.name,
            self.constant(f"{module}/kernel", kernel.transpose(3, 2, 0, 1)),
            self.constant(f"{module}/bias", bias),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=x.channels // kernel.shape[2],
        )
        return _Maps(name, kernel.shape[3], (x.side + before + after - size) // stride + 1)


def _preprocessed(graph: _Graph, preprocessing: Preprocessing) -> _Maps:
    """`images` `[B, H, W, 3]` -> resized as Pillow does, normalised, channels first."""
    size = preprocessing.test_size
    # On uint8 the runtime rounds as Pillow does. As in Pillow, pixels outside have no weight, and
    # the cubic's coefficient is -0.5.
    images = graph.node(
        "Resize",
        "images",
        "",
        "",
        graph.constant("size", [size, size], np.int64),
        mode={"bilinear": "linear", "bicubic": "cubic"}[preprocessing.interpolation],
        cubic_coeff_a=-0.5,
        axes=[1, 2],
        antialias=1,
        exclude_outside=1,
    )
    images = graph.node("Cast", images, to=onnx.TensorProto.FLOAT)
    maps = _Maps(graph.node("Transpose", images, perm=[0, 3, 1, 2]), 3, size)
    mean, std = (255 * np.reshape(v, (3, 1, 1)) for v in (preprocessing.mean, preprocessing.std))
    maps = graph.on_maps("Sub", maps, graph.constant("mean", mean))
    return graph.on_maps("Div", maps, graph.constant("std", std))


def _efficientnet(graph: _Graph, x: _Maps, model: EfficientNet) -> _Maps:
    """An EfficientNet from its input to what is pooled."""
    activated = _activation(graph, model.activation)
    x = activated(graph.convolution(x, "conv_stem", "bn1", stride=2))
    for i, stage in enumerate(model.stages):
        for j in range(stage.depth):
            block, y, norm = f"blocks_{i}_{j}", x, 1
            expanded = graph.has(f"{block}/conv_pwl")
            if expanded:
                y = activated(graph.convolution(y, f"{block}/conv_pw", f"{block}/bn1"))
                norm = 2
            stride = stage.stride if j == 0 else 1
            y = graph.convolution(y, f"{block}/conv_dw", f"{block}/bn{norm}", stride)
            y = activated(y)
            if model.squeeze_excite:
                y = _gated(graph, y, f"{block}/se")
            last = "conv_pwl" if expanded else "conv_pw"
            y = graph.convolution(y, f"{block}/{last}", f"{block}/bn{norm + 1}")
            skipped = stride == 1 and x.channels == y.channels
            x = graph.on_maps("Add", y, x.name) if skipped else y
    return activated(graph.convolution(x, "conv_head", "bn2"))


def _resnet(graph: _Graph, x: _Maps, model: ResNet) -> _Maps:
    """A ResNet from its input to what is pooled."""
    x = graph.convolution(x, "conv1", "bn1", stride=1 if model.small_images else 2)
    x = graph.on_maps("Relu", x)
    if not model.small_images:
        x = graph.on_maps("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        x = x._replace(side=(x.side - 1) // 2 + 1)
    for i, depth in enumerate(model.depths):
        for j in range(depth):
            block, y = f"layer{i + 1}_{j}", x
            stride = 2 if i > 0 and j == 0 else 1
            strides = (1, stride, 1) if model.bottleneck else (stride, 1)
            for n, step in enumerate(strides, start=1):
                y = graph.convolution(y, f"{block}/conv{n}", f"{block}/bn{n}", step)
                y = graph.on_maps("Relu", y) if n < len(strides) else y
            if graph.has(f"{block}/downsample_0"):
                names = f"{block}/downsample_0", f"{block}/downsample_1"
                x = graph.convolution(x, *names, stride)
            x = graph.on_maps("Relu", graph.on_maps("Add", y, x.name))
    return x


def _classified(graph: _Graph, x: _Maps, model: nn.Module, temperature: float) -> None:
    """Pooling and the linear classifier: `logits` and `probabilities`, `[B, N]`."""
    head = model.CLASSIFIER
    features = graph.node("Flatten", graph.node("GlobalAveragePool", x.name))
    kernel = graph.constant(f"{head}/kernel", graph.read(f"params/{head}/kernel"))
    bias = graph.constant(f"{head}/bias", graph.read(f"params/{head}/bias"))
    logits = graph.node("Gemm", features, kernel, bias, output="logits")
    logits = graph.node("Div", logits, graph.constant("temperature", temperature))
    graph.node("Softmax", logits, output="probabilities", axis=-1)


def _activation(graph: _Graph, function: Callable) -> Callable[[_Maps], _Maps]:
    """What writes one of the activations that our networks have."""
    if function is nn.silu:
        return lambda x: graph.on_maps("Mul", x, graph.node("Sigmoid", x.name))
    if function is nn.relu6:
        low, high = graph.constant("zero", 0.0), graph.constant("six", 6.0)
        return lambda x: graph.on_maps("Clip", x, low, high)
    if function is nn.relu:
        return lambda x: graph.on_maps("Relu", x)
    raise ValueError(f"the activation {function} cannot be written as ONNX; take .safetensors")


def _gated(graph: _Graph, x: _Maps, module: str) -> _Maps:
    """`SqueezeExcite`: the channels times a gate that is computed from their means."""
    gate = _Maps(graph.node("GlobalAveragePool", x.name), x.channels, 1)
    gate = graph.convolution(gate, f"{module}/conv_reduce")
    gate = graph.convolution(_activation(graph, nn.silu)(gate), f"{module}/conv_expand")
    return graph.on_maps("Mul", x, graph.node("Sigmoid", gate.name))
