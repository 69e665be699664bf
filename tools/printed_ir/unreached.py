"""The places that no model reaches, and why.  Each one was read in the source of the releases that it names."""

from __future__ import annotations

HEADER = ("place", "releases", "what it prints", "why it was not reached")
PLACES = (
    (
        "`codegen/triton_utils.py`: `signature_of`, `is_aligned` (2.0: `codegen/triton.py`)",
        "2.0, 2.8, 2.15",
        "`unhandled {type(arg)}: {arg}`",
        "arguments of Triton kernels are names and sizes, no IR; needs Triton for the device",
    ),
    (
        "`ir.py`: `UserDefinedTritonKernel.codegen`",
        "2.8, 2.15",
        "`Unsupported arg type: {type(arg)}: {arg}`",
        "behind the code for a user's Triton kernel, which CPU ends before",
    ),
    (
        "`codegen/cuda/cuda_kernel.py` (2.15: `codegen/cutlass/kernel.py`), `codegen/rocm/rocm_kernel.py`",
        "2.8, 2.15",
        "`{inputs=}, {outputs=}`: lists of IR",
        "CUTLASS and CK templates need a GPU",
    ),
    (
        "`codegen/cpp_template_kernel.py`: `slice_nd`, `select`, `store_pointwise_nodes`, `store_output`",
        "2.8, 2.15",
        "`{ranges=}, {node=}`, `{dst=}, {src=}`, a node as an assertion's message",
        "only a mistake in a C++ template of Inductor's own gets there",
    ),
    (
        "`codegen/wrapper_fxir.py`: `_get_buffer`, `_generate_buffer`, `generate`",
        "2.8, 2.15",
        "`Unable to extract buffer from node: {node}`, `Unrecognized buffer/view node: {node}`, a line of the wrapper",
        "the FX wrapper has to be handed IR that it does not know",
    ),
    (
        "`codegen/wrapper.py`: `CommBufferLine.size`; `comm_lowering.py`: `_get_data`; `comm_analysis.py`: `get_collective_type`",
        "2.8, 2.15",
        "`The size of a comm buffer can't be symbolic: {node}`, `(got {x.data})`, `node is not a collective kernel: {node}`",
        "needs symmetric memory or several ranks; each is one node's text",
    ),
    (
        "`comm_lowering.py`: `realize_as_comm_buffer`; `ir.py`: `CommBufferLayout`; `select_algorithm.py`; `scheduler.py`",
        "2.8, 2.15",
        "layouts",
        "a layout prints sizes, strides and a device, no IR: `NonOwningLayout` and `MutationLayout` leave out the node they hold",
    ),
    (
        "`lowering.py`: `as_strided`",
        "2.0, 2.8, 2.15",
        "`unrealized as_strided({x}, ...)`",
        "everything that reaches it has been realized just before; `ir_in_the_message` is a message of this kind",
    ),
    (
        "`ir.py`: `Buffer.get_name`, `MultiOutput.get_free_symbol_uses`, `ExternKernel.unwrap_storage`, `MutationLayout.realize_into`",
        "2.0, 2.8, 2.15",
        "a node as an assertion's message",
        "only IR of a wrong kind gets there; `ir_as_the_message` is a message of this kind",
    ),
    (
        "`ir.py`: `Conditional.create`, `WhileLoop.create`",
        "2.8, 2.15",
        "`... are aliased: {outputs}`",
        (
            "what is aliased in the graph is refused before, and Inductor copies outputs with other strides than the graph's; "
            "`other_offset_in_cond` reaches the assertion beside it"
        ),
    ),
    (
        "`graph.py`: `GraphLowering.output`",
        "2.0, 2.8, 2.15",
        "all outputs of the graph, where one is of no known kind",
        "what a lowering may return, a graph may return, too, or it fails before",
    ),
    (
        "`lowering.py`: `max_pool2d_with_indices` and the like",
        "2.15",
        "a result that is no `TensorBox`",
        "would be a mistake in Inductor itself",
    ),
    (
        "`select_algorithm.py`: `AlgorithmSelectorCache.__call__`, where nothing was timed",
        "2.8, 2.15",
        "`Autotuning returned empty timings, falling back to ...: {node}`",
        "`autotuning-log` reaches the line beside it, `Autotuning selected choice: {node}`",
    ),
    (
        "`memory.py`: `validate_unique_buffer_names`; `comms_debug.py`",
        "2.15",
        "`debug_str()` of scheduler nodes",
        "these hold names and layouts, no IR, as `ir_pre_fusion` shows",
    ),
    (
        "`ir.py`: `StorageBox.has_exceeded_max_reads`, `mark_reuse`",
        "2.0",
        "nothing: the length of `inner_fn_str()` decides whether a buffer is realized",
        "that text is made of op names and indices, holds no other node and is not wrapped",
    ),
)
