import numpy as np
import pytest
import scipy.stats
import torch

from metrics.baselines import centre_heatmaps, random_heatmaps
from metrics.boxes import boxes_from_heatmap
from metrics.decisions import Queries, Truth, decide
from metrics.grounding import GroundingScore
from metrics.pointing_game import peak_points
from metrics.protocols import PRESETS, protocol


def test_centre_points_at_the_middle_with_half_the_sides():
    maps = centre_heatmaps(3, 33)
    assert peak_points(maps, (331, 501)).tolist() == [[165, 250]] * 3
    x0, y0, x1, y1, _ = boxes_from_heatmap(centre_heatmaps(1, 225)[0], "clean")[0]
    assert np.allclose(np.array([x0, y0, x1, y1]) / 225, [0.25, 0.25, 0.75, 0.75], atol=0.02)


@pytest.mark.parametrize("rules", PRESETS)
def test_the_centre_is_decided_on_once_for_all(rules):
    """The same map in the same memory gives the decisions of as many copies of it."""
    sizes = torch.tensor([[30, 40], [50, 20]])
    image_of_query = torch.tensor([0, 1, 1, 0, 1])
    queries = Queries(sizes, image_of_query, torch.tensor([0, 1, 1, 2, 3]))
    truth = Truth([torch.tensor([[2.0, 3.0, 19.0, 18.0]])] * 5)
    shared = decide(centre_heatmaps(5), queries, PRESETS[rules], truth)
    copied = decide(centre_heatmaps(5).clone(), queries, PRESETS[rules], truth)
    for name in ("points", "boxes", "hits", "row_of_query"):
        assert getattr(shared, name).equal(getattr(copied, name))
    torch.testing.assert_close(shared.maps, copied.maps)
    torch.testing.assert_close(shared.ious, copied.ious)


def test_random_is_a_function_of_the_key():
    keys = [f"image-{i}#phrase" for i in range(40)]
    maps = random_heatmaps(keys, (20, 30))
    assert maps.shape == (40, 20, 30)
    assert torch.cat([random_heatmaps([key], (20, 30)) for key in reversed(keys)]).flip(0).equal(maps)
    assert not maps[0].equal(maps[1])
    assert random_heatmaps([]).shape[0] == 0


def test_random_point_is_uniform():
    maps = random_heatmaps([f"{i}/{i % 7}" for i in range(20000)], 16)
    cells = maps.flatten(1).argmax(1)
    counts = torch.bincount(cells, minlength=256).numpy()
    assert scipy.stats.chisquare(counts).pvalue > 0.001


def test_random_pointing_is_the_area_of_the_box():
    n = 3000
    score = GroundingScore(protocol("clean", box_size=None))
    for rows in torch.arange(n).split(1000):
        keys = [f"query {i}" for i in rows.tolist()]
        boxes = [torch.tensor([[20.0, 10, 60, 50]])] * len(rows)
        score.update(
            random_heatmaps(keys, 33),
            boxes,
            torch.zeros(len(rows)).long(),
            rows,
            torch.tensor([[80, 100]]),
            keys,
        )
    estimate = score.compute()["pointing_game"]
    assert abs(estimate.value - 0.2) < 3.5 * (0.2 * 0.8 / n) ** 0.5
