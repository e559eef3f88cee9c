import numpy as np
import pytest

from fpga_facedet.compiler.equivalence import Reference, integers, noise, scene
from fpga_facedet.compiler.streamline import streamline
from fpga_facedet.errors import InternalError, UserError
from tests.compiler.conftest import Built


@pytest.mark.parametrize("make", [noise, scene])
def test_pictures_are_the_same_every_time(make) -> None:  # type: ignore[no-untyped-def]
    first = make(32, 64, 3)
    assert first.shape == (32, 64, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, make(32, 64, 3))
    assert len(np.unique(first)) > 200


def test_a_scene_is_smoother_than_noise() -> None:
    steps = [np.abs(np.diff(make(128, 128, 3).astype(int), axis=1)).mean() for make in (scene, noise)]
    assert steps[0] < steps[1] / 4


def test_every_saved_graph_equals_the_first(built: Built) -> None:
    reference = Reference.of(built.graph("import"), 1 / 128)
    for name in ("tidy", "streamline", "hardware", "minimise", "specialise", "fold", "converters", "fifos"):
        reference.check(built.graph(name), name)


def test_answers_are_the_heads_integers(built: Built) -> None:
    reference = Reference.of(built.graph("import"), 1 / 128)
    for answer in reference.answers.values():
        assert answer.shape == (4, 8, 12)
        assert answer.min() >= -128 and answer.max() <= 127 and len(np.unique(answer)) > 20


def test_counts_what_differs(built: Built) -> None:
    graph = streamline(built.model)
    reference = Reference.of(built.graph("import"), 1 / 128)
    last = graph.graph.node[-1].input[1]
    thresholds = graph.get_initializer(last).copy()
    # One channel of twelve says the least value everywhere.
    thresholds[0] = 2**30
    graph.set_initializer(last, thresholds)
    wrong = int((reference.answers["noise"][..., 0] != -128).sum())
    with pytest.raises(InternalError, match=f"Step 'mine' changed the mathematics: {wrong} of 384 .* picture 'noise'"):
        reference.check(graph, "mine")


@pytest.mark.parametrize(("step", "kind"), [("streamline", UserError), ("fold", InternalError)])
def test_sums_on_rounding_boundaries_are_the_models(built: Built, step: str, kind: type[Exception]) -> None:
    reference = Reference.of(built.graph("import"), 1 / 128)
    shifted = {name: answer.copy() for name, answer in reference.answers.items()}
    shifted["noise"][2, 3, 5] += 1
    says = (
        "1 of 384 outputs change by 1 on the picture 'noise'" if kind is UserError else "changed the mathematics: 1 of"
    )
    with pytest.raises(kind, match=says):
        Reference(reference.pictures, shifted, 1 / 128).check(built.graph(step), step)
    shifted["noise"][2, 3, 5] += 1
    with pytest.raises(InternalError, match="changed the mathematics: 1 of 384"):
        Reference(reference.pictures, shifted, 1 / 128).check(built.graph(step), step)


def test_another_shape_is_told(built: Built) -> None:
    reference = Reference.of(built.graph("import"), 1 / 128)
    wanted = {name: answer[:, :7] for name, answer in reference.answers.items()}
    with pytest.raises(InternalError, match=r"changed the output's shape from \(4, 7, 12\) to \(4, 8, 12\)"):
        Reference(reference.pictures, wanted, 1 / 128).check(built.graph("fold"), "fold")


def test_integers_are_the_same_before_and_after_the_layout_changes(built: Built) -> None:
    picture = scene(32, 64, 3)
    np.testing.assert_array_equal(
        integers(built.graph("tidy"), picture, 1 / 128), integers(built.graph("streamline"), picture, 1 / 128)
    )
