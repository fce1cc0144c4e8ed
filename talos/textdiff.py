"""The difference of two texts, line by line, in unified form.

Myers' algorithm in its linear-space form: memory grows with the texts, not with the square of their difference. Where
two texts differ almost everywhere the search is cut short and the difference, still right, may be longer than it had
to be.
"""

from collections.abc import Iterator

CONTEXT = 3
MAX_LINES = 75_000
"""Lines of both texts together above which only a notice is shown."""
MAX_SIZE = 512 * 1024
"""Characters of the difference above which only a notice is shown."""
_MAX_COST = 256

Box = tuple[int, int, int, int]
"""Lines a0 to a1 of the old text against lines b0 to b1 of the new one."""


def unified(old: str, new: str) -> str:
    """The hunks that turn ``old`` into ``new``, without a file header; empty if nothing differs.

    A last line without a line break is treated as one with it. Too large differences are one line that says so.
    """
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) <= MAX_LINES:
        text = "".join(f"{line}\n" for hunk in _hunks(before, after) for line in hunk)
        if len(text) <= MAX_SIZE:
            return text
    return f"@@ -1,{len(before)} +1,{len(after)} @@ diff too large to display\n"


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _hunks(old: list[str], new: list[str]) -> Iterator[list[str]]:
    changes = changed_ranges(old, new)
    start = 0
    while start < len(changes):
        end = start + 1
        # Changes whose contexts would touch share a hunk.
        while end < len(changes) and changes[end][0] - changes[end - 1][1] <= 2 * CONTEXT:
            end += 1
        yield _hunk(old, new, changes[start:end])
        start = end


def _hunk(old: list[str], new: list[str], changes: list[Box]) -> list[str]:
    lead = min(CONTEXT, changes[0][0])
    first_old, first_new = changes[0][0] - lead, changes[0][2] - lead
    lines: list[str] = []
    at = first_old
    for a0, a1, b0, b1 in changes:
        lines += (f" {line}" for line in old[at:a0])
        lines += (f"-{line}" for line in old[a0:a1])
        lines += (f"+{line}" for line in new[b0:b1])
        at = a1
    lines += (f" {line}" for line in old[at : at + CONTEXT])
    old_count = sum(line[0] != "+" for line in lines)
    new_count = sum(line[0] != "-" for line in lines)
    # An empty range is named by the line before it.
    old_start = first_old + (old_count > 0)
    new_start = first_new + (new_count > 0)
    return [f"@@ -{old_start},{old_count} +{new_start},{new_count} @@", *lines]


def changed_ranges(old: list[str], new: list[str]) -> list[Box]:
    """What differs: ranges of old lines and the ranges of new lines in their place, in order, never adjacent."""
    changes: list[Box] = []
    a, b = 0, 0
    for i, j, length in [*_matches(old, new), (len(old), len(new), 0)]:
        if i > a or j > b:
            changes.append((a, i, b, j))
        a, b = i + length, j + length
    return changes


def _matches(old: list[str], new: list[str]) -> list[tuple[int, int, int]]:
    """Runs of equal lines (old start, new start, length), in order; neighbouring runs are joined."""
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in old]
    b = [numbers.setdefault(line, len(numbers)) for line in new]
    runs: list[tuple[int, int, int]] = []

    def matched(i: int, j: int, length: int) -> None:
        if not length:
            return
        if runs and runs[-1][0] + runs[-1][2] == i and runs[-1][1] + runs[-1][2] == j:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + length)
        else:
            runs.append((i, j, length))

    # What is still to do, the leftmost on top; a box with equal sides marked as a run stands for the run itself.
    todo: list[tuple[Box, bool]] = [((0, len(a), 0, len(b)), False)]
    while todo:
        (a0, a1, b0, b1), is_run = todo.pop()
        if is_run:
            matched(a0, b0, a1 - a0)
            continue
        start = a0
        while a0 < a1 and b0 < b1 and a[a0] == b[b0]:
            a0, b0 = a0 + 1, b0 + 1
        matched(start, b0 - (a0 - start), a0 - start)
        end = a1
        while a0 < a1 and b0 < b1 and a[a1 - 1] == b[b1 - 1]:
            a1, b1 = a1 - 1, b1 - 1
        todo.append(((a1, end, b1, b1 + end - a1), True))
        if a0 < a1 and b0 < b1:
            x, y = _middle(a, b, (a0, a1, b0, b1))
            todo.append(((x, a1, y, b1), False))
            todo.append(((a0, x, b0, y), False))
    return runs


def _middle(a: list[int], b: list[int], box: Box) -> tuple[int, int]:
    """A point on a shortest path through the box, about half-way; neither of its corners.

    The box is not empty, and neither its first nor its last lines are equal.
    """
    a0, a1, b0, b1 = box
    n, m = a1 - a0, b1 - b0
    delta = n - m
    odd = delta % 2 == 1
    # Furthest x by diagonal k = x - y: from the start, and (mirrored) from the end.
    forward: dict[int, int] = {1: 0}
    backward: dict[int, int] = {1: 0}
    for cost in range((n + m + 1) // 2 + 1):
        for k in range(-cost, cost + 1, 2):
            if k == -cost or (k != cost and forward[k - 1] < forward[k + 1]):
                x = forward[k + 1]
            else:
                x = forward[k - 1] + 1
            y = x - k
            while x < n and 0 <= y < m and a[a0 + x] == b[b0 + y]:
                x, y = x + 1, y + 1
            forward[k] = x
            if odd and abs(delta - k) < cost and x + backward.get(delta - k, -1) >= n and 0 <= y <= m and x <= n:
                return a0 + x, b0 + y
        for k in range(-cost, cost + 1, 2):
            if k == -cost or (k != cost and backward[k - 1] < backward[k + 1]):
                x = backward[k + 1]
            else:
                x = backward[k - 1] + 1
            y = x - k
            while x < n and 0 <= y < m and a[a1 - 1 - x] == b[b1 - 1 - y]:
                x, y = x + 1, y + 1
            backward[k] = x
            if not odd and abs(delta - k) <= cost and x + forward.get(delta - k, -1) >= n and 0 <= y <= m and x <= n:
                return a1 - x, b1 - y
        if cost >= _MAX_COST:
            break
    return _furthest(forward, box)


def _furthest(forward: dict[int, int], box: Box) -> tuple[int, int]:
    """The point inside the box that the search from the start came furthest to."""
    a0, a1, b0, b1 = box
    inside = ((x, x - k) for k, x in forward.items() if 0 <= x <= a1 - a0 and 0 <= x - k <= b1 - b0)
    x, y = max(inside, key=sum)
    return a0 + x, b0 + y
