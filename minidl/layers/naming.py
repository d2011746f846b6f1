"""The content of a layer: its parameters, the layers in it, and the names of both, computed by walking down."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from minidl.backend.arrays import Array
from minidl.errors import UsageError
from minidl.layers.context import join
from minidl.layers.parameter import Parameter
from minidl.text.html import html_table

if TYPE_CHECKING:
    from minidl.layers.base import Layer, Shape

_MEANT = {  # what people look for who know another framework
    "parameters": "model.named_parameters()",
    "state_dict": "minidl.save(path, model), or minidl.to_torch_state_dict(model)",
    "load_state_dict": "minidl.load(path, model), or minidl.load_torch_state_dict(model, state)",
    "train": "model.forward(x, minidl.TRAIN.at_step(step)): each pass says what it is for",
    "eval": "model(x): each pass says what it is for",
    "predict": "model(x)",
    "fit": "minidl.Trainer(model, ...).fit()",
}


class Named:
    """The part of a layer that knows its content."""

    # How the children of a container are connected. "chain": one after the other. "parallel": all read its input.
    # None: only its forward pass knows. With one of the first two, a part of a network is cut out shorter.
    wiring: str | None = None
    unnamed: frozenset[str] = frozenset()  # children that add no level to the names of what is in them
    training_only: frozenset[str] = frozenset()  # children that only a TRAIN pass runs, as `SideHead` does its head

    params: dict[str, Parameter]  # learned, ordered
    buffers: dict[str, Array]  # saved, not learned, written in place

    _of_class: dict[str, Any] = {}  # layers and Parameters among the class's own attributes

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        attributes = {name: value for c in reversed(cls.__mro__) for name, value in vars(c).items() if c is not Named}
        attributes.pop("_of_class", None)
        cls._of_class = {name: value for name, value in attributes.items() if _hidden(value) is not None}

    def __new__(cls, *args: Any, **kwargs: Any) -> Named:
        layer = super().__new__(cls)
        layer.params, layer.buffers = {}, {}
        return layer

    def children(self) -> dict[str, Layer]:
        """The layers directly in this one, by name; empty for a leaf."""
        own, found = vars(self), {}
        for name, value in own.items():
            if isinstance(value, Named):
                found[name] = value
            elif isinstance(value, _COLLECTIONS) and name not in ("params", "buffers"):
                self._refuse_hidden(name, value)
        for name, value in self._of_class.items():
            if name not in own:
                self._refuse_hidden(name, value)
        return found

    def with_children(self, children: Mapping[str, Layer]) -> Layer:
        """A copy of this container with other children, given by the same names. This one doesn't change."""
        own = vars(self)
        if not all(own.get(name) is child for name, child in self.children().items()):
            raise UsageError(f"{self.label}: has children of its own, so it needs a with_children(self, children)")
        new = copy.copy(self)
        vars(new).update(children)
        return new

    def outputs(self, in_shape: Shape) -> dict[str, slice]:
        """The children whose outputs are channels of the container's output, if that is known, and which channels."""
        children = self.children()
        return {list(children)[-1]: slice(None)} if children and self.wiring == "chain" else {}

    def level(self, name: str) -> str:
        """The part that the child `name` adds to the names inside it."""
        return "" if name in self.unnamed else name

    def places(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        """(path, layer) of this layer, at `path`, and of all layers below it, each before its own children.

        If a layer adds no level to the names, its path is that of its container.
        """
        yield path, self
        for name, child in self.children().items():
            yield from child.places(join(path, self.level(name)))

    def leaves(self) -> Iterator[Layer]:
        """All layers without children at or below this one, in the order of the forward pass."""
        return (layer for _, layer in self.places() if not layer.children())

    def named_layers(self) -> dict[str, Layer]:
        """All layers below this one by full name, such as "inception2.b3". A layer in two places has two names.

        Raises UsageError if two layers have the same name.
        """
        found: dict[str, Layer] = {}
        for name, layer in self._below():
            _put(found, name, layer)
        return found

    def _below(self, path: str = "") -> Iterator[tuple[str, Layer]]:
        for name, child in self.children().items():
            if name not in self.unnamed:
                yield join(path, name), child
            yield from child._below(join(path, self.level(name)))

    def named_parameters(self) -> dict[str, Parameter]:
        """All parameters of this layer and of those below it, by full name, such as "inception2.b3.conv.weight", once
        each.

        Raises UsageError if two have the same name.
        """
        return self._named("params")

    def named_buffers(self) -> dict[str, Array]:
        """All buffers in this layer and below it, by full name, such as "stem.bn.running_mean", each once."""
        return self._named("buffers")

    def zero_grad(self) -> None:
        """Sets every gradient to zero (gradients accumulate until then)."""
        for p in self.params.values():
            p.grad[...] = 0
        for child in self.children().values():
            child.zero_grad()

    def _named(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        seen = set()
        for path, layer in self.places():
            layer._refuse_what_is_no_array(path)
            for name, value in getattr(layer, kind).items():
                if id(value) not in seen:
                    seen.add(id(value))
                    _put(found, join(path, name), value)
        return found

    def _refuse_what_is_no_array(self, path: str) -> None:
        """Raises UsageError for a buffer or parameter that can't be written in place: no optimizer changes it, and no
        checkpoint saves it.
        """
        for name, value in self.params.items():
            if not isinstance(value, Parameter):
                raise UsageError(f"{join(path, name)} is a {type(value).__name__} in params: give Parameter(array)")
        for name, value in self.buffers.items():
            if not hasattr(value, "__setitem__") or not hasattr(value, "dtype"):
                raise UsageError(
                    f"{join(path, name)} is a {type(value).__name__} in buffers: give an array, such as np.zeros(1)"
                )

    # ------------------------------------------------------------------- in Python

    def __getitem__(self, name: str | int) -> Layer:
        """The layer of this full name, or the child of this number. Raises UsageError with the nearest names."""
        if isinstance(name, int):
            return list(self.children().values())[name]
        layers = self.named_layers()
        if name not in layers:
            raise no_such_layer(name, layers)
        return layers[name]

    def __len__(self) -> int:
        return len(self.children())

    def __bool__(self) -> bool:
        return True  # without children too

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.children().values())

    def __contains__(self, layer: object) -> bool:
        layers = self.named_layers()
        return layer in layers if isinstance(layer, str) else any(layer is own for own in layers.values())

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            if hasattr(type(self), name):
                raise UsageError(
                    f"{self.label}.{name}: the class has an attribute of this name, which would hide the Parameter: "
                    "choose another name"
                )
            vars(self).pop(name, None)  # such as None until now; it would hide the Parameter
            self.params[name] = value  # and found there by `__getattr__`
        elif name in vars(self).get("params", ()):
            raise AttributeError(f"{self.label}.{name} is a Parameter: write its value in place, or set another one")
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in (params := vars(self).get("params", {})):
            return params[name]
        meant = f": write {_MEANT[name]}" if name in _MEANT else ""
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{meant}", name=name, obj=self)

    @property
    def label(self) -> str:
        """The layer's name for itself in messages; its path is added by `errors.within`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.children())})"

    def __str__(self) -> str:
        from minidl.layers.tree import tree  # which stands on this file

        return tree(self)

    def _repr_html_(self) -> str:
        from minidl.layers.tree import HEAD, rows

        return html_table([HEAD, *rows(self)], left=2)

    def refuse_others(self, runs: str) -> None:
        """Raises UsageError if an attribute other than `runs` has layers: the container runs those of `runs` only."""
        for name, value in vars(self).items():
            if name not in (runs, "params", "buffers") and isinstance(_hidden(value), Named):
                raise UsageError(
                    f"{self.label}.{name}: this container runs the layers that it is given: give it this one too, or "
                    "derive from Layer and write the forward pass"
                )

    def _refuse_hidden(self, name: str, value: Any) -> None:
        hidden = _hidden(value)
        if hidden is None:
            return
        if hidden is value:
            kind = "layer" if isinstance(value, Named) else "Parameter"
            raise UsageError(
                f"{self.label}.{name}: a {kind} in the class itself is not seen, and all its objects would share it: "
                f"set self.{name} in __init__"
            )
        if isinstance(hidden, Named):
            raise UsageError(
                f"{self.label}.{name}: layers in a {type(value).__name__} are not seen: put them in a Sequential, or "
                "name them in children(self) and with_children(self, children)"
            )
        raise UsageError(
            f"{self.label}.{name}: Parameters in a {type(value).__name__} are not seen: give each an attribute, "
            "or a name in self.params"
        )


_COLLECTIONS = (list, tuple, dict, set, frozenset)


def _hidden(value: Any, depth: int = 3) -> Named | Parameter | None:
    """`value` itself if it is a layer or a Parameter, or the first one in it, if it is a collection.

    It looks at the first few parts of a collection only: `children` is called often, and a list may be long.
    """
    if isinstance(value, Named | Parameter):
        return value
    if isinstance(value, _COLLECTIONS) and depth:
        for part in islice(value.values() if isinstance(value, dict) else value, 16):
            if (found := _hidden(part, depth - 1)) is not None:
                return found
    return None


def _put(found: dict[str, Any], name: str, value: Any) -> None:
    if found.setdefault(name, value) is not value:
        raise UsageError(f"two different objects in the model have the name {name}: give one of them another name")


def no_such_layer(name: str, names: Mapping[str, Any], more: str = "") -> UsageError:
    """The error for a name that no layer has; `names` are the existing ones, `more` is further help."""
    near = difflib.get_close_matches(str(name), names, n=3)
    hint = f"did you mean {' or '.join([', '.join(near[:-1]), near[-1]] if near[1:] else near)}? " if near else ""
    first = [n for n in names if "." not in n]
    listed = ", ".join(first[:12]) + (", ..." if len(first) > 12 else "")
    return UsageError(f"no layer {name!r}: {hint}choose {listed} or a layer in one of them{more}")
