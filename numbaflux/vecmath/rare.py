"""Arguments so rare that they are left to libm, in loops over vectors all the same.

note [Variants]  A branch in a loop's body keeps LLVM from vectorising it, and so does a call,
unless the function names its counterparts on vectors in `vector-function-abi-variant`.  So the
branch is put into a function with such counterparts, written here: they return at once if no lane
needs more.  Until a loop is vectorised nobody calls the counterparts; `llvm.compiler.used` keeps
them alive.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from numbaflux.vecmath.coefficients import Kind
from numbaflux.vecmath.number import Number

LANES = (2, 4, 8, 16)
PURE = ("noinline", "nounwind", "readnone", "willreturn")


def beyond(k: Kind, name: str) -> Any:
    """(x, y) -> libm's `name` of x, in double precision, where |x| > HUGE, else y."""
    (limit,) = k.constants("HUGE")

    def repair(x: Number, y: Number) -> Number:
        function = _scalar(x.builder.module, x.type, name, float(limit))
        return Number(x.builder, x.builder.call(function, [x.value, y.value]))

    return repair


def _scalar(module: Any, kind: Any, name: str, limit: float) -> Any:
    """The function on numbers, made once a module with those on vectors.  note [Variants]"""
    full = f"numbaflux_{name}_{kind.intrinsic_name}_beyond_2_{limit.hex().partition('p+')[2]}"
    if full in module.globals:
        return module.globals[full]
    mappings = ",".join(f"_ZGV_LLVM_N{n}vv_{full}({full}_x{n})" for n in LANES)
    variants = f'"vector-function-abi-variant"="{mappings}"'
    function, builder, far = _begin(module, kind, full, limit, (*PURE, variants))
    double = ir.DoubleType()
    libm = module.declare_intrinsic(f"llvm.{name}", [double])
    with builder.if_then(far, likely=False):
        x = function.args[0]
        y = builder.call(libm, [x if kind == double else builder.fpext(x, double)])
        builder.ret(y if kind == double else builder.fptrunc(y, kind))
    builder.ret(function.args[1])
    _keep(module, [_vector(module, kind, n, f"{full}_x{n}", limit, function) for n in LANES])
    return function


def _vector(module: Any, kind: Any, lanes: int, name: str, limit: float, scalar: Any) -> Any:
    """The same for a vector of numbers: one test for all of them."""
    vector = ir.VectorType(kind, lanes)
    function, builder, far = _begin(module, vector, name, limit, PURE)
    mask = builder.bitcast(far, ir.IntType(lanes))
    some = builder.icmp_unsigned("!=", mask, mask.type(0))
    with builder.if_then(some, likely=False):
        result = vector(ir.Undefined)
        for i in range(lanes):
            lane = ir.IntType(32)(i)
            pair = [builder.extract_element(arg, lane) for arg in function.args]
            result = builder.insert_element(result, builder.call(scalar, pair), lane)
        builder.ret(result)
    builder.ret(function.args[1])
    return function


def _begin(module: Any, kind: Any, name: str, limit: float, attributes: tuple[str, ...]) -> Any:
    """A new function of (x, y), a builder in it, and where |x| > limit."""
    function = ir.Function(module, ir.FunctionType(kind, [kind, kind]), name)
    function.linkage = "linkonce_odr"
    for attribute in attributes:
        set.add(function.attributes, attribute)  # llvmlite's own `add` knows no string attribute
    builder = ir.IRBuilder(function.append_basic_block())
    lanes = getattr(kind, "count", 0)
    element = kind.element if lanes else kind
    suffix = f"v{lanes}" * bool(lanes) + element.intrinsic_name
    absolute = _declared(module, f"llvm.fabs.{suffix}", ir.FunctionType(kind, [kind]))
    size = builder.call(absolute, function.args[:1])
    return function, builder, builder.fcmp_ordered(">", size, kind([limit] * lanes or limit))


def _declared(module: Any, name: str, kind: Any) -> Any:
    return module.globals.get(name) or ir.Function(module, kind, name)


def _keep(module: Any, functions: list[Any]) -> None:
    """Add to the module's list of functions that only its compiler will call."""
    name, pointer = "llvm.compiler.used", ir.PointerType()
    kept: Any = module.globals.get(name)
    kept = kept or ir.GlobalVariable(module, ir.ArrayType(pointer, 0), name)
    kept.linkage, kept.section = "appending", "llvm.metadata"
    items = [*kept.initializer.constant] if kept.initializer else []
    items += [ir.FormattedConstant(pointer, f.get_reference()) for f in functions]
    kept.value_type = ir.ArrayType(pointer, len(items))
    kept.initializer = kept.value_type(items)
