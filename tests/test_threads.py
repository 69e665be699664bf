"""Threads that compile while others turn every knob: no exception, no wrong result, nothing left behind."""

from __future__ import annotations


def test_for_a_minute_eight_threads_compile_while_others_allow_apply_remove_and_look(run) -> None:
    run(
        """
        import itertools, threading, time, torch, torch._dynamo, torch._inductor.compile_fx
        from torch._inductor.exc import OperatorIssue
        from torch._inductor.graph import GraphLowering
        stock = vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]
        import lowering_hooks
        from lowering_hooks.call_function import _last_text, _lowering_allowed_op

        library = torch.library.Library("mylib", "DEF")
        THREADS, SECONDS = 8, 60
        defining = threading.Lock()  # libraries are not made for several threads
        def op(name, factor):
            library.define(f"{name}(Tensor x) -> Tensor")
            library.impl(name, lambda x: x * factor, "CPU")
            library.impl(name, lambda x: x.new_empty(x.shape), "Meta")
            return getattr(torch.ops.mylib, name).default
        errors, marks, compiled, done = [], [], [], threading.Event()

        def guarded(work, *args):
            try:
                work(*args)
            except BaseException as error:
                errors.append(repr(error))
        def compile_all(i):
            for j in itertools.count():
                if time.monotonic() > end:
                    return
                with defining:
                    custom = op(f"op_{i}_{j}", i + j + 2)
                x = torch.full((3, 4), float(i + 1))
                # A function of its own for each model: compiled code belongs to a code object.
                scope = {"op": custom, "__name__": "__main__"}
                exec(compile(f"def model(x): return op(op(x) + {i}) + {j}", f"model_{i}_{j}.py", "exec"), scope)
                result = torch.compile(scope["model"], fullgraph=True)(x)
                assert torch.equal(result, scope["model"](x)), (i, j)
                compiled.append((i, j))
                marks.append((_lowering_allowed_op.get(), _last_text.get()))
        def loop(work):
            while not done.is_set():
                work()
                time.sleep(0.005)  # or they leave the compiles no time at all
        def strategies():
            lowering_hooks.apply("set_proxy")
            lowering_hooks.apply("call_function")
        def allow():
            lowering_hooks.allow("mylib")
            lowering_hooks.disallow("mylib")
        def block():
            with lowering_hooks.allowing("mylib"):
                lowering_hooks.bounded_ir()
            lowering_hooks.bounded_ir(False)
        knobs = [
            threading.Thread(target=guarded, args=(loop, work))
            for work in (strategies, allow, block, lowering_hooks.remove, lowering_hooks.status, lowering_hooks.report)
        ]
        threads = [threading.Thread(target=guarded, args=(compile_all, i)) for i in range(THREADS)]
        end = time.monotonic() + SECONDS
        for thread in [*knobs, *threads]:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        for thread in knobs:
            thread.join()
        assert errors == [], errors[0]
        assert {i for i, _ in compiled} == set(range(THREADS))
        assert set(marks) == {(None, None)}

        assert lowering_hooks.apply("call_function").state == "active"
        assert vars(GraphLowering)["call_function"].__wrapped__ is stock[0]
        lowering_hooks.remove()
        lowering_hooks.bounded_ir(False)
        assert (vars(GraphLowering)["call_function"], vars(OperatorIssue)["operator_str"]) == stock
        """,
    )
