"""Models of custom ops of published packages: layers, and behind them an op that the process has not met before.

Inductor writes a text of an op where it first meets it.  That text doubles with each layer where an op has two
outputs that are both read behind it, or where what an op makes is read twice.  All models run on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import torch

# A function of tensors, and the tensors.
Built = tuple[Callable[..., Any], list[torch.Tensor]]


@dataclass(frozen=True)
class Model:
    """A chain of ops of one package.

    Attributes:
        package: The name by which the package is installed.
        module: The module whose import registers the ops.
        layer: The ops of a layer.
        late: The op behind the layers.  No model has an op of another, so that one process compiles them all.
        build: Makes the chain of so many layers, and its inputs.
        survived: A number of layers that stock survives.
    """

    package: str
    module: str
    layer: tuple[str, ...]
    late: str
    build: Callable[[int], Built]
    survived: int = 5

    def names(self) -> list[str]:
        """Return the ops of a layer and the late one as a report has them, without the overload."""
        namespace = {"fbgemm-gpu-cpu": "fbgemm"}.get(self.package, self.package)
        return [
            op.replace("::", ".") if "::" in op else f"{namespace}.{op}" for op in (*self.layer, self.late)
        ]


def blockwise(layers: int) -> Built:
    ops = torch.ops.bitsandbytes

    def model(x: Any, code: Any) -> Any:
        for _ in range(layers):
            quantized, absmax = ops.quantize_blockwise(x, code, 64)
            x = ops.dequantize_blockwise(quantized, absmax, code, 64, torch.float32)
        return ops.quantize_4bit(x.t(), 64, "nf4", torch.uint8)

    return model, [torch.randn(64, 64), torch.linspace(-1, 1, 256)]


def sparse_features(layers: int) -> Built:
    ops = torch.ops.fbgemm

    def model(order: Any, lengths: Any, values: Any, weights: Any) -> Any:
        for _ in range(layers):
            lengths, values, weights = ops.permute_2D_sparse_data(order, lengths, values, weights, 24)
        return ops.asynchronous_complete_cumsum(lengths.view(-1)), values, weights

    lengths = torch.full((3, 4), 2, dtype=torch.int32)
    return model, [torch.tensor([2, 0, 1], dtype=torch.int32), lengths, torch.arange(24), torch.randn(24)]


def jagged(layers: int) -> Built:
    ops = torch.ops.fbgemm

    def model(values: Any, offsets: Any) -> Any:
        for _ in range(layers):
            dense = ops.jagged_to_padded_dense_forward(values, [offsets], [4], 0.0)
            values = ops.jagged_dense_dense_elementwise_add_jagged_output_forward(
                values, [offsets], dense, dense
            )
        return ops.jagged_softmax_forward(values, offsets, 4)

    return model, [torch.randn(9, 5), torch.tensor([0, 2, 5, 9])]


def pooling(layers: int) -> Built:
    ops = torch.ops.torchvision

    def model(x: Any, rois: Any) -> Any:
        for _ in range(layers):
            pooled, argmax = ops.roi_pool(x, rois, 1.0, 4, 4)
            x = ops._roi_pool_backward(pooled, rois, argmax, 1.0, 4, 4, 1, 4, 8, 8)
        return ops.ps_roi_align(x.permute(0, 1, 3, 2), rois, 1.0, 2, 2, 2)

    return model, [torch.randn(1, 4, 8, 8), torch.tensor([[0.0, 0.0, 0.0, 7.0, 7.0]])]


def deformable(layers: int) -> Built:
    ops = torch.ops.torchvision

    def model(x: Any, weight: Any, bias: Any, rois: Any) -> Any:
        for _ in range(layers):
            x = ops.deform_conv2d(x, weight, x, x[:, :9], bias, 1, 1, 1, 1, 1, 1, 1, 1, True)
        # Inductor lists roi_align itself, and writes no text of it.
        return ops.ps_roi_pool(ops.roi_align(x, rois, 1.0, 6, 6, 2, True), rois, 1.0, 3, 3)

    weight, rois = torch.randn(18, 18, 3, 3) / 20, torch.tensor([[0.0, 0.0, 0.0, 5.0, 5.0]])
    return model, [torch.randn(1, 18, 6, 6), weight, torch.randn(18), rois]


def float8(layers: int) -> Built:
    ops = torch.ops.torchao

    def model(x: Any) -> Any:
        for _ in range(layers):
            scale = x[:, :1]
            quantized = ops.quantize_affine_float8_non_decomposed(x, scale, torch.float8_e4m3fn)
            x = ops.dequantize_affine_float8_non_decomposed(quantized, scale, torch.float32)
        # The package has no other op that can be compiled; PyTorch has this one, which Inductor does not lower.
        return torch.ops.aten._upsample_bilinear2d_aa.default(x[None, None], [8, 8], False)

    return model, [torch.rand(16, 16) + 1]


MODELS: Final = {
    "blockwise": Model(
        "bitsandbytes",
        "bitsandbytes",
        ("quantize_blockwise", "dequantize_blockwise"),
        "quantize_4bit",
        blockwise,
    ),
    "sparse_features": Model(
        "fbgemm-gpu-cpu",
        "fbgemm_gpu",
        ("permute_2D_sparse_data",),
        "asynchronous_complete_cumsum",
        sparse_features,
    ),
    "jagged": Model(
        "fbgemm-gpu-cpu",
        "fbgemm_gpu",
        ("jagged_to_padded_dense_forward", "jagged_dense_dense_elementwise_add_jagged_output_forward"),
        "jagged_softmax_forward",
        jagged,
        survived=4,
    ),
    "pooling": Model(
        "torchvision", "torchvision", ("roi_pool", "_roi_pool_backward"), "ps_roi_align", pooling
    ),
    "deformable": Model("torchvision", "torchvision", ("deform_conv2d",), "ps_roi_pool", deformable),
    "float8": Model(
        "torchao",
        "torchao.quantization",
        ("quantize_affine_float8_non_decomposed", "dequantize_affine_float8_non_decomposed"),
        "aten::_upsample_bilinear2d_aa",
        float8,
    ),
}


# A number of layers for which stock's text has no end, in any model.
DEEP: Final = 24


def built(name: str, layers: int) -> Built:
    """Import the package of a model, and return the model of that many layers with its inputs."""
    import_module(MODELS[name].module)
    torch.manual_seed(0)
    return MODELS[name].build(layers)
