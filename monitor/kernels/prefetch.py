"""Prefetching: a record that a kernel needs soon is fetched while the kernel works on others.

A batch updates thousands of records of 2 KB, each once and in no order of their addresses. The
processor cannot foresee that, so every record would cost it a wait for memory.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_LINE = 64  # bytes of a line of the processor's cache
_WRITE, _KEEP, _DATA = 1, 3, 1  # arguments of the LLVM intrinsic


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Fetch the item of an array, `(n,)`, at `index`, int64, into the cache, to be written.

    Source: LLVM Language Reference Manual, `llvm.prefetch`.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        items = context.make_array(signature.args[0])(context, builder, arguments[0])
        item = cgutils.get_item_pointer(
            context, builder, signature.args[0], items, [arguments[1]], wraparound=False
        )
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        how = [ir.Constant(number, value) for value in (_WRITE, _KEEP, _DATA)]
        start = builder.bitcast(item, byte)
        for offset in range(0, array.dtype.size, _LINE):
            line = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
            builder.call(fetch, [line, *how])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
