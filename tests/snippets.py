"""Code that the processes which the tests start have in common."""

from __future__ import annotations

# compile_one(NAME) compiles a model that calls an op of an allowed namespace without a lowering, and looks at
# what came out.  Nothing is imported before it is called.
COMPILE_ONE = """
libraries = {}
def custom_op(name, namespace="vllm"):
    from torch.library import Library
    library = libraries.get(namespace) or libraries.setdefault(namespace, Library(namespace, "DEF"))
    library.define(f"{name}(Tensor x) -> Tensor")
    library.impl(name, lambda x: x * 2, "CPU")
    library.impl(name, lambda x: x.new_empty(x.shape), "Meta")
    import torch
    return getattr(getattr(torch.ops, namespace), name).default
def compile_one(name="op", namespace="vllm"):
    import torch, torch._dynamo  # which 2.0 does not import by itself
    op = custom_op(name, namespace)
    torch._dynamo.reset()
    x = torch.randn(4)
    assert torch.equal(torch.compile(lambda x: op(op(x)) + 1)(x), x * 4 + 1)
"""

# What the logger of the package is told, from INFO on.
KEEP_MESSAGES = """
import logging, sys
messages = []
class KeepMessages(logging.Handler):
    def emit(self, record):
        messages.append((record.levelname, record.getMessage()))
logging.getLogger("lowering_hooks").addHandler(KeepMessages())
logging.getLogger("lowering_hooks").setLevel(logging.INFO)
def infos():
    return [text for level, text in messages if level == "INFO"]
def warnings():
    # On 2.3 and 2.4 the set proxy says once what it cannot do: test_set_proxy.py.
    return [text for level, text in messages
            if level == "WARNING" and "only: on this PyTorch the strides of ops tagged" not in text]
"""

# 2.0 knows no variable for it.  A forked child would wait for its parent's compile processes for ever, and none
# can be given work at the end of the interpreter.
COMPILE_HERE = """
import torch, torch._inductor.config
torch._inductor.config.compile_threads = 1
"""

# run_after(NAME, ACTION) calls ACTION when the module NAME has been executed, in the middle of whatever imports it.
RUN_AFTER = """
import importlib.machinery, sys
class RunAfter:
    def __init__(self, name, action):
        self.name, self.action = name, action
    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            self.action()
        spec.loader.exec_module = exec_module
        return spec
def run_after(name, action):
    sys.meta_path.insert(0, RunAfter(name, action))
"""
