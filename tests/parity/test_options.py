"""Values of the official options, and the options that a replay refuses."""

import pytest
import torch

from tests.parity.options import annealed_range, clip_of, clipped, not_replayed, ramp
from tests.parity.recording import Case


def case(method="sds", scalars=None, **config) -> Case:
    entry = {"name": "new", "method": method, "config": config, "scalars": scalars or {}}
    return Case(None, entry)


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (3.0, 7, 3.0),
        ([0, 2.0, 8.0, 1000], 250, 3.5),
        ([100, 2.0, 8.0, 1000], 50, 2.0),
        ([2.0, 8.0, 1000], 5000, 8.0),
        ([5000, 0.98, 0.5, 5001], 5000, 0.98),
        ([5000, 0.98, 0.5, 5001], 5001, 0.5),
        ([0, 2.0, 1.0, 1000, 3.0, 2000], 500, 1.5),
        ([0, 2.0, 1.0, 1000, 3.0, 2000], 1500, 2.0),
        ([0, 2.0, 8.0, 10.0], 5, 2.0),  # an end in epochs, of which none has passed
    ],
)
def test_schedules(value, step, expected):
    assert ramp(value, step) == pytest.approx(expected)


def test_an_annealed_t_starts_at_the_first_value_of_its_upper_end():
    range_ = annealed_range(
        case(max_step_percent=[0, 0.9, 0.5, 100], min_step_percent=[0, 0.2, 0.4, 10], global_step=5)
    )
    assert range_ == pytest.approx((0.9, 0.3))
    assert annealed_range(case()) == (0.98, 0.02)


def test_gradients_are_clipped_where_a_step_was_given():
    assert clip_of(case(grad_clip=[0, 2.0, 8.0, 1000], global_step=500)) == 5
    assert clip_of(case(grad_clip=[0, 2.0, 8.0, 1000])) is None
    assert clip_of(case(scalars={"grad_clip_val": 0.5})) == 0.5
    g = torch.tensor([-3.0, 1.0])
    assert clipped(g, 2.0).tolist() == [-2, 1]
    assert clipped(g, None) is g


@pytest.mark.parametrize(
    ("method", "name", "value", "read"),
    [
        ("sds", "guidance_scale", 31.0, True),
        ("sds", "weighting_strategy", "fantasia3d", True),
        ("sds", "weighting_strategy", "cubic", False),
        ("sds", "token_merging", False, True),
        ("sds", "token_merging", True, False),
        ("csd", "use_controlnet", True, False),
        ("vsd", "camera_condition_type", "mvp", True),
        ("esd", "camera_condition_type", "spherical", False),
        ("ism", "sds", True, False),
        ("sdi", "front_threshold", 45.0, True),
        ("sdi", "front_threshold", 30.0, False),
        ("view_dependent_prompting", "front_threshold", 30.0, True),
    ],
)
def test_an_option_that_no_replay_reads_is_named(method, name, value, read):
    reason = not_replayed(case(method, **{name: value}))
    assert (reason == "") == read
    assert read or name in reason
