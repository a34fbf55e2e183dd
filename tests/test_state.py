"""A checkpoint gives back what it was given."""

import pytest
import torch

from state import flatten, unflatten

STATE = {
    "adam": {"state": {0: {"step": torch.tensor(3.0)}, 12: {}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]},
    "a/b": "text",
    "#1": [],
    "@list": None,
    "": {"deep": [torch.ones(2), (1, True, "é")]},
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("state", [STATE, {}, [], torch.zeros(()), 7, None, {"x": {"y": ()}}], ids=str)
def test_there_and_back(state):
    tensors, facts = flatten(state)
    assert all(isinstance(v, torch.Tensor) for v in tensors.values())
    assert same(unflatten(tensors, facts), state)


def test_an_optimiser():
    p = torch.nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([p])
    p.sum().backward()
    adam.step()
    assert same(unflatten(*flatten(adam.state_dict())), adam.state_dict())


@pytest.mark.parametrize("value", [object(), {1.5: 0}, {"a": {"b": {1, 2}}}])
def test_what_cannot_be_kept_is_named(value):
    with pytest.raises(TypeError, match=r"cannot keep|keys are"):
        flatten(value)
