"""Small models that reach the places where Inductor prints IR, each as deep as it is told to be.

``make_printed_ir.py`` runs all of them and makes a page of it.  The modules, from what is run to what is shown:

* ``building``, ``graphs``, ``subgraphs``, ``compilers``, ``errors``, ``triton_kernel``: what the models are made of;
* ``models``: all of them by name;
* ``measuring``, ``asking``: one of them in this process;
* ``server``, ``runs``: each of them in a process of its own;
* ``page``, ``unreached``: the page.
"""

import warnings

# Before any of them imports PyTorch, which may warn.
warnings.simplefilter("ignore")
