"""A Triton kernel for ``graphs.triton_kernel``, in a file of its own, since Triton reads its source."""

import triton
import triton.language as tl


@triton.jit
def add_one(x_pointer, out_pointer, size, block: tl.constexpr):
    offsets = tl.program_id(0) * block + tl.arange(0, block)
    mask = offsets < size
    tl.store(out_pointer + offsets, tl.load(x_pointer + offsets, mask=mask) + 1, mask=mask)
