"""`targets.assign` for a whole batch at once, where the windows are: on the CPU or a GPU."""

import torch
from torch import Tensor

from fpga_facedet.training.targets import IGNORED, LEAST_FACE, MAX_GROWTH, POSITIVE, SPREAD_FROM

NOTHING, FACE, REGION = 0, 1, 2
"""What a row of boxes is: padding, a face, or a region that does not count."""


def assign_batch(boxes: Tensor, kinds: Tensor, anchors: Tensor, stride: int, grid: tuple[int, int]) -> Tensor:
    """Return float32 (N, anchors, 5, grid_height, grid_width), each window as `targets.assign` makes it.

    `boxes` float32 (N, F, 4) x1, y1, x2, y2 in window pixels, `kinds` integers (N, F): FACE, REGION or NOTHING;
    `anchors` float32 (A, 2). All on one device.
    """
    if not boxes.shape[1]:
        return torch.zeros((len(boxes), len(anchors), 5, *grid), device=boxes.device)
    size = boxes[..., 2:] - boxes[..., :2]
    # torch's float32 root may be off by its last bit, which decides between faces of one size; not so by float64.
    mean = size.clamp(min=0).prod(-1).double().sqrt().float()
    ranked, usable = _closest_shapes(size, anchors)
    asked = (kinds == FACE) & (mean >= LEAST_FACE) & usable.any(-1)
    ignored = (kinds != NOTHING) & ~asked
    # Large faces choose first; from here on a face's index is its turn.
    turn = torch.where(asked, -mean, torch.inf).argsort(dim=1, stable=True)
    boxes_by_turn, mean, asked = (_reorder(values, turn) for values in (boxes, mean, asked))
    ranked, usable = _reorder(ranked, turn), _reorder(usable, turn)
    centre = (boxes_by_turn[..., :2] + boxes_by_turn[..., 2:]) / (2 * stride)
    cell = _cells(centre, grid)
    owner = _choose(ranked, usable, asked, cell, grid)
    _spread(owner, ranked, usable, asked & (mean >= SPREAD_FROM), centre, cell)
    return _fill(owner, boxes_by_turn, _covered(boxes, ignored, stride, grid))


def _reorder(values: Tensor, turn: Tensor) -> Tensor:
    """Return `values` (N, F, ...) with the faces in the order `turn` (N, F)."""
    index = turn.view(*turn.shape, *(1,) * (values.dim() - 2)).expand_as(values)
    return values.gather(1, index)


def _closest_shapes(size: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the anchors (N, F, A) by falling overlap with a box of `size`, and which of them can reach it."""
    common = torch.minimum(size[:, :, None], anchors).prod(-1)
    overlap = common / (size.prod(-1)[..., None] + anchors.prod(-1) - common)
    ranked = (-overlap).argsort(dim=-1, stable=True)
    growth = (size[:, :, None] / anchors).amax(-1)
    return ranked, growth.gather(-1, ranked) <= MAX_GROWTH


def _cells(centre: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return row and column (N, F, 2) of the cell around each centre x, y (N, F, 2), in cells."""
    last = torch.tensor([grid[1] - 1, grid[0] - 1], device=centre.device)
    return torch.minimum(centre.long(), last).flip(-1)


def _first(choices: Tensor) -> Tensor:
    """Return the index of the first true value of the last dimension (0 where there is none)."""
    falling = torch.arange(choices.shape[-1], 0, -1, device=choices.device)
    return (choices * falling).argmax(-1)


def _choose(ranked: Tensor, usable: Tensor, asked: Tensor, cell: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return which face (its turn; -1: none) each anchor of each cell (N, A, H, W) is asked for at first.

    Only faces of one cell compete. All that are first in their cell choose at once, then all that are second.
    """
    count, _, shapes = ranked.shape
    owner = torch.full((count, shapes, *grid), -1, device=ranked.device)
    place = cell[..., 0] * grid[1] + cell[..., 1]
    place = torch.where(asked, place, -1)
    before = ((place[:, :, None] == place[:, None, :]) & asked[:, None, :]).tril(-1).sum(-1)
    for turn in range(int(before[asked].max()) + 1 if asked.any() else 0):
        window, face = torch.nonzero(asked & (before == turn), as_tuple=True)
        row, column = cell[window, face].unbind(-1)
        choices = ranked[window, face]
        free = usable[window, face] & (owner[window[:, None], choices, row[:, None], column[:, None]] < 0)
        anchor = choices.gather(1, _first(free)[:, None])[:, 0]
        finds = free.any(-1)
        owner[window[finds], anchor[finds], row[finds], column[finds]] = face[finds]
    return owner


def _spread(owner: Tensor, ranked: Tensor, usable: Tensor, large: Tensor, centre: Tensor, cell: Tensor) -> None:
    """Ask the nearest column and row, and the second-best anchor, for large faces where nobody else is asked.

    Of several faces that want the same place the one with the earlier turn gets it: the smallest key.
    """
    _, shapes, rows, columns = owner.shape
    window, face = torch.nonzero(large, as_tuple=True)
    row, column = cell[window, face].unbind(-1)
    side = torch.where(centre[window, face].flip(-1) - cell[window, face] > 0.5, 1, -1)
    choices, reach = ranked[window, face], usable[window, face]
    best = _first(reach)
    others = reach.clone()
    others[torch.arange(len(best), device=best.device), best] = False
    first, second = (choices.gather(1, index[:, None])[:, 0] for index in (best, _first(others)))
    always = torch.ones_like(first, dtype=torch.bool)
    wanted = (
        (first, row, column + side[:, 1], always),
        (first, row + side[:, 0], column, always),
        (second, row, column, others.any(-1)),
    )
    nobody = torch.iinfo(torch.long).max
    keys = torch.full((owner.numel(),), nobody, device=owner.device)
    for anchor, r, c, meant in wanted:
        inside = meant & (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
        place = ((window * shapes + anchor) * rows + r) * columns + c
        keys.scatter_reduce_(0, place[inside], face[inside], "amin")
    keys = keys.view_as(owner)
    owner.copy_(torch.where((owner < 0) & (keys != nobody), keys, owner))


def _covered(boxes: Tensor, ignored: Tensor, stride: int, grid: tuple[int, int]) -> Tensor:
    """Return which cells (N, H, W) have their centre in an ignored box, or the box's centre in them."""
    cell = _cells((boxes[..., :2] + boxes[..., 2:]) / (2 * stride), grid)
    first = (boxes[..., :2] / stride - 0.5).ceil().clamp(min=0).flip(-1)
    last = (boxes[..., 2:] / stride - 0.5).floor().flip(-1)
    inside, own = [], []
    for axis in range(2):
        index = torch.arange(grid[axis], device=boxes.device)
        inside.append((index >= first[..., axis, None]) & (index <= last[..., axis, None]))
        own.append(index == cell[..., axis, None])
    covered = torch.zeros((len(boxes), *grid), device=boxes.device)
    for rows, columns in (inside, own):
        covered += torch.einsum("nfh,nfw->nhw", (rows & ignored[..., None]).float(), columns.float())
    return covered > 0


def _fill(owner: Tensor, boxes: Tensor, covered: Tensor) -> Tensor:
    """Return the targets (N, A, 5, H, W) of the owners (N, A, H, W), the rest ignored where it is covered."""
    count, shapes, rows, columns = owner.shape
    positive = owner >= 0
    index = owner.clamp(min=0).view(count, -1, 1).expand(-1, -1, 4)
    chosen = boxes.gather(1, index).view(count, shapes, rows, columns, 4) * positive[..., None]
    kind = torch.where(positive, POSITIVE, torch.where(covered[:, None], IGNORED, 0.0))
    return torch.cat([chosen, kind[..., None]], dim=-1).permute(0, 1, 4, 2, 3).contiguous()
