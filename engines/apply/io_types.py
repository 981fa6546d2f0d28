"""The types of a model's inputs and outputs at its border: as in the model, or FP16, or bytes for an image.

1. Everything inside, the recipe and its scales, calibration and simulation know nothing of them: the finished graph is
   retyped, so that a recipe serves any border.
2. FP16: an input is read as it is where the graph computes in FP16, an output is not cast back to FP32.
3. uint8, inputs alone: a Cast follows, and the model's own normalization (x / 255, Rescaling, Normalization) comes
   after it. Its factor is in the first convolution's weights already, with what zero padding allows of its offset
   (`converters.passes.fold_affine`), so for INT8 the scale of the bytes themselves is the first scale. TensorRT takes
   uint8 for inputs and outputs only, cast to FP32 or FP16 ("TensorRT Operators: Cast").
All types of one bundle are the same, in the FP32 graph too: whichever file runs takes and gives the same arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.errors import BuildError
from deploy.manifest import TensorSpec
from deploy.npz import Array

if TYPE_CHECKING:
    import onnx_ir

DTYPES = {"fp32": "float32", "fp16": "float16", "uint8": "uint8"}
ALL = ""
"""The name that stands for every float input and output."""


@dataclass(frozen=True)
class IoTypes:
    """Dtypes, as numpy names them, of the inputs and outputs that differ from the model's own; by name."""

    changed: Mapping[str, str] = field(default_factory=dict)

    def specs(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The inputs or outputs as they are at the border."""
        return tuple(replace(spec, dtype=self.changed.get(spec.name, spec.dtype)) for spec in specs)

    def given(self, specs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
        """The inputs as samples must have them: bytes as bytes; what becomes FP16 may be FP32 yet."""
        return tuple(replace(spec, dtype="uint8") if self.is_bytes(spec.name) else spec for spec in specs)

    def is_bytes(self, name: str) -> bool:
        """Whether an input takes uint8."""
        return self.changed.get(name) == "uint8"

    def border(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by name, in the model's types, as those of the border; infinite where FP16 cannot hold a number."""
        with np.errstate(over="ignore"):
            return {name: np.asarray(array, self.changed.get(name, array.dtype)) for name, array in arrays.items()}

    def inner(self, arrays: Mapping[str, Array], specs: Sequence[TensorSpec]) -> dict[str, Array]:
        """Given samples as the model sees them behind the border: rounded to its type, then in the model's own."""
        rounded = self.border(arrays)
        return {spec.name: rounded[spec.name].astype(spec.dtype) for spec in specs}


KEPT = IoTypes()
"""Everything as in the model."""


def parse(asked: str | Mapping[str, str] | None) -> dict[str, str]:
    """``fp16``, ``image=uint8,scores=fp16`` or a mapping as name -> fp32, fp16 or uint8. Raises BuildError."""
    if asked is None:
        return {}
    items = asked.items() if isinstance(asked, Mapping) else (_pair(part) for part in asked.split(",") if part.strip())
    found = {name.strip(): kind.strip().lower() for name, kind in items}
    for name, kind in found.items():
        if kind not in DTYPES:
            raise _refused("unknown type", name, ", ".join(DTYPES), repr(kind), "--io-dtype fp16, or NAME=uint8")
    return found


def _pair(part: str) -> tuple[str, str]:
    name, equals, kind = part.rpartition("=")
    return (name, kind) if equals else (ALL, kind)


def resolve(asked: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> IoTypes:
    """The types that `parse` read, for a model. Raises BuildError for a name it lacks and a type that cannot be."""
    specs = {spec.name: spec for spec in (*inputs, *outputs)}
    floats = [name for name, spec in specs.items() if spec.dtype == "float32"]
    for name in asked:
        if name != ALL and name not in specs:
            raise _refused("no input or output has this name", name, ", ".join(specs), name, "correct the name")
    wanted = {**dict.fromkeys(floats, asked.get(ALL, "fp32")), **{name: asked[name] for name in asked if name != ALL}}
    given = [spec.name for spec in inputs]
    for name, kind in wanted.items():
        fix = "leave it out"
        if name not in floats:
            raise _refused("only float inputs and outputs can have another type", name, specs[name].dtype, kind, fix)
        if kind == "uint8" and name not in given:
            fix = f"--io-dtype {','.join(f'{one}=uint8' for one in given if one in floats)}"
            raise _refused("bytes are for inputs alone", name, "fp32 or fp16", kind, fix)
    return IoTypes({name: DTYPES[kind] for name, kind in wanted.items() if kind != "fp32"})


def early(asked: Mapping[str, str], inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs as samples must have them, before the outputs are known and `resolve` can look at everything."""
    return IoTypes({name: DTYPES[kind] for name, kind in asked.items()}).given(inputs)


def _refused(what: str, name: str, expected: str, found: str, fix: str) -> BuildError:
    return BuildError(what, where=f"--io-dtype {name}".strip(), expected=expected, found=found, fix=fix)


def retype(model: onnx_ir.Model, types: IoTypes) -> None:
    """Gives the inputs and outputs of a finished graph, which are FP32, their types, in place."""
    import onnx_ir as ir

    from engines.graphs import name_of

    kinds = {name: ir.DataType.from_numpy(np.dtype(dtype)) for name, dtype in types.changed.items()}
    for value in model.graph.inputs:
        if (name := name_of(value)) in kinds:
            _retype_input(model, value, kinds[name])
    for index, value in enumerate(list(model.graph.outputs)):
        if (name := name_of(value)) in kinds:
            _retype_output(model, index, kinds[name])


def _retype_input(model: onnx_ir.Model, value: onnx_ir.Value, kind: Any) -> None:
    """Rules 2 and 3: a Cast to FP16 reads the input itself, what is FP16 needs none; all else reads a Cast to FP32."""
    import onnx_ir as ir

    from engines.apply.placement import insert_behind

    value.dtype = kind
    inner: ir.Value | None = None
    for reader, index in list(value.uses()):
        to = reader.outputs[0].dtype if reader.op_type == "Cast" else None
        if to == kind and not reader.outputs[0].is_graph_output():
            reader.outputs[0].replace_all_uses_with(value)
            model.graph.remove(reader, safe=True)
        elif to != ir.DataType.FLOAT16:
            if inner is None:
                inner = ir.val(f"{value.name}/fp32", ir.DataType.FLOAT, value.shape)
            reader.replace_input_with(index, inner)
    if inner is not None:
        cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT}, outputs=[inner], name=f"{value.name}/input_cast")
        insert_behind(model, value, [cast])


def _retype_output(model: onnx_ir.Model, index: int, kind: Any) -> None:
    """Rule 2: the Cast back to FP32 that a typed graph ends in is dropped, or gives the other type.

    It stays as it is, beside the output, where operations in FP32 read it too.
    """
    import onnx_ir as ir

    from engines.apply.casting import cast_output

    value = model.graph.outputs[index]
    last = value.producer()
    if last is None or last.name != f"{value.name}/output_cast":
        model.graph.outputs[index] = cast_output(model, value, kind)
        return
    source, read = last.inputs[0], bool(value.uses())
    if source is None or source.dtype != kind:
        if read:
            model.graph.outputs[index] = cast_output(model, value, kind)
            return
        last.attributes["to"] = ir.AttrInt64("to", kind)
        value.dtype = kind
        return
    name, value.name = value.name, f"{value.name}/{'fp32' if read else 'dropped'}"
    model.graph.outputs[index] = source
    source.name = name
    if not read:
        model.graph.remove(last, safe=True)
