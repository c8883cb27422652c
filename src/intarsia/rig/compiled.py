"""A compiler traces whole calls, and a plan decides within them: neither knows of the other."""

from collections.abc import Collection

from torch import nn

from ..errors import RigError

COMPILED = (
    "{} was compiled, and the compiler would trace the plan itself. Take the model as it was before, and "
    "graphs.applied_as_graphs(plan, host, 'compile'), which compiles each kind of row."
)


def refuse_compiled(model: nn.Module, paths: Collection[str] = ("",)) -> None:
    """See to it that none of these places in a model was compiled, nor what they lie in.

    Raises:
        RigError: one was, by `model.compile()` or `torch.compile(model)`.
    """
    names = [path.split(".") for path in paths]
    for place in sorted({".".join(parts[:depth]) for parts in names for depth in range(len(parts) + 1)}):
        piece = model.get_submodule(place)
        if piece._compiled_call_impl is not None or hasattr(piece, "_orig_mod"):
            raise RigError(COMPILED.format(place or type(model).__name__))
