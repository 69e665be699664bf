"""Random models with custom ops, compiled as stock and with lowering-hooks, and compared.

A graph is plain data, the same in every process: what ops it defines, the tensors it is called with, and the lines
of its model.  The modules, from what is drawn to what is compared:

* ``feeds``: what changes the strides of a tensor on its way into a custom op;
* ``ops``: custom ops: their schemas, what they are called with and what they return;
* ``strategies``: graphs, as Hypothesis draws and shrinks them;
* ``counting``: what a graph is made of, in words;
* ``plan``: the ways of compiling, and what must hold of many graphs;
* ``model``: defines the ops of a graph and makes its model;
* ``worker``: the processes that compile; each is forked from one that has imported PyTorch and nothing of
  lowering-hooks;
* ``ways``: starts those processes, hands every graph to each, and compares what comes back.
"""
