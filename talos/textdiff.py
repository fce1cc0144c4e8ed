"""The difference of two texts, line by line, in unified form, aligned as Talos aligns it.

Where several shortest differences exist, Talos' choice is made: Myers' search for a middle snake from both ends, the
halves solved alike, and a table of common subsequences for small rests. Memory grows with the texts, not with the
square of their difference. Where texts differ almost everywhere the search is cut short and the difference, still
right, may be longer than it had to be.
"""

from collections.abc import Iterator

CONTEXT = 3
MAX_LINES = 75_000
"""Lines of both texts together above which only a notice is shown."""
MAX_SIZE = 512 * 1024
"""Characters of the difference above which only a notice is shown."""
_SMALL = 10
"""Boxes with fewer lines on both sides are solved by table."""
_MAX_DEPTH = 30
_MAX_CELLS = 250_000
_MAX_COST = 512

Box = tuple[int, int, int, int]
"""Lines a0 to a1 of the old text against lines b0 to b1 of the new one."""


def unified(old: str, new: str) -> str:
    """The hunks that turn ``old`` into ``new``, without a file header; empty if nothing differs.

    A last line without a line break is treated as one with it. Too large differences are one line that says so.
    """
    before, after = _lines(old), _lines(new)
    if len(before) + len(after) <= MAX_LINES:
        text = "".join(f"{line}\n" for line in _hunks(edits(before, after)))
        if len(text) <= MAX_SIZE:
            return text
    return f"@@ -1,{len(before)} +1,{len(after)} @@ diff too large to display\n"


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _hunks(script: list[str]) -> Iterator[str]:
    changes = [index for index, line in enumerate(script) if line[0] != " "]
    old_line = new_line = 1
    at = start = 0
    while start < len(changes):
        end = start + 1
        # Changes whose contexts overlap share a hunk.
        while end < len(changes) and changes[end] - changes[end - 1] <= 2 * CONTEXT:
            end += 1
        first, last = max(0, changes[start] - CONTEXT), min(len(script), changes[end - 1] + CONTEXT + 1)
        old_line, new_line = old_line + _count(script[at:first], "+"), new_line + _count(script[at:first], "-")
        body = script[first:last]
        old_count, new_count = _count(body, "+"), _count(body, "-")
        # An empty range is named by the line before it.
        yield f"@@ -{old_line - (not old_count)},{old_count} +{new_line - (not new_count)},{new_count} @@"
        yield from body
        old_line, new_line = old_line + old_count, new_line + new_count
        at, start = last, end


def _count(script: list[str], without: str) -> int:
    return sum(line[0] != without for line in script)


def edits(old: list[str], new: list[str]) -> list[str]:
    """All lines of both texts in order, kept ones after a blank, removed ones after ``-``, added ones after ``+``."""
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(line, len(numbers)) for line in old]
    b = [numbers.setdefault(line, len(numbers)) for line in new]
    script: list[str] = []
    # What is still to do, the first on top: boxes with their depth, or (depth -1) runs of equal lines.
    todo: list[tuple[Box, int]] = [((0, len(a), 0, len(b)), 0)]
    while todo:
        box, depth = todo.pop()
        a0, a1, b0, b1 = box
        if depth < 0:
            script += (f" {line}" for line in old[a0:a1])
        elif a0 == a1 or b0 == b1:
            script += [*(f"-{line}" for line in old[a0:a1]), *(f"+{line}" for line in new[b0:b1])]
        elif depth >= _MAX_DEPTH or (a1 - a0 < _SMALL and b1 - b0 < _SMALL):
            at_a, at_b = a0, b0
            for i, j in [*_common(a, b, box), (a1, b1)]:
                script += [*(f"-{line}" for line in old[at_a:i]), *(f"+{line}" for line in new[at_b:j])]
                script += (f" {line}" for line in old[i : min(i + 1, a1)])
                at_a, at_b = i + 1, j + 1
        else:
            todo += reversed(_divided(a, b, box, depth + 1))
    return script


def _divided(a: list[int], b: list[int], box: Box, depth: int) -> list[tuple[Box, int]]:
    """The parts of a box in order: what its ends have in common and the rest, or the halves around a middle snake."""
    a0, a1, b0, b1 = box
    left, right = a0, a1
    shift = b0 - a0
    while left < a1 and left + shift < b1 and a[left] == b[left + shift]:
        left += 1
    back = b1 - a1
    while right > left and right + back > left + shift and a[right - 1] == b[right - 1 + back]:
        right -= 1
    if left == a0 and right == a1:
        x0, y0, length = _snake(a, b, box)
        x1, y1 = x0 + length, y0 + length
        return [((a0, x0, b0, y0), depth), ((x0, x1, y0, y1), -1), ((x1, a1, y1, b1), depth)]
    middle = (left, right, left + shift, right + back)
    return [((a0, left, b0, left + shift), -1), (middle, depth), ((right, a1, right + back, b1), -1)]


def _common(a: list[int], b: list[int], box: Box) -> list[tuple[int, int]]:
    """Pairs of equal lines on a longest common subsequence; none if the table would be too large."""
    a0, a1, b0, b1 = box
    if (a1 - a0) * (b1 - b0) > _MAX_CELLS:
        return []
    table = [[0] * (b1 - b0 + 1)]
    for line in a[a0:a1]:
        above, row = table[-1], [0]
        for column, other in enumerate(b[b0:b1]):
            row.append(above[column] + 1 if line == other else max(above[column + 1], row[column]))
        table.append(row)
    pairs = []
    i, j = a1 - a0, b1 - b0
    while i and j:
        if a[a0 + i - 1] == b[b0 + j - 1]:
            i, j = i - 1, j - 1
            pairs.append((a0 + i, b0 + j))
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def _snake(a: list[int], b: list[int], box: Box) -> tuple[int, int, int]:
    """A run of equal lines (perhaps empty) on a shortest path through the box: its start in both texts, its length.

    The box is not empty, and neither its first nor its last lines are equal.
    """
    a0, a1, b0, b1 = box
    n, m = a1 - a0, b1 - b0
    if n == 1 or m == 1:
        return next(((i, j, 1) for i in range(a0, a1) for j in range(b0, b1) if a[i] == b[j]), (a0, b0, 0))
    delta = n - m
    odd = delta % 2 == 1
    # Furthest x by diagonal k = x - y, from the start and from the end.
    forward, backward = {0: 0}, {delta: n}
    for cost in range(min((n + m + 1) // 2, _MAX_COST) + 1):
        for k in range(-cost, cost + 1, 2):
            x = _furthest(forward, k, cost, n)
            y = x - k
            if x < 0 or not 0 <= y <= m:
                continue
            start = x
            while x < n and y < m and a[a0 + x] == b[b0 + y]:
                x, y = x + 1, y + 1
            forward[k] = x
            if odd and abs(delta - k) < cost and x >= backward.get(k, n + 1):
                return a0 + start, b0 + start - k, x - start
        for k in range(delta - cost, delta + cost + 1, 2):
            x = _nearest(backward, k, delta, cost)
            y = x - k
            if x < 0 or not 0 <= y <= m:
                continue
            end = x
            while x > 0 and y > 0 and a[a0 + x - 1] == b[b0 + y - 1]:
                x, y = x - 1, y - 1
            backward[k] = x
            if not odd and abs(k) <= cost and forward.get(k, -1) >= x:
                return a0 + x, b0 + y, end - x
    x, k = max(((x, k) for k, x in forward.items() if x - k <= m), key=lambda point: 2 * point[0] - point[1])
    return a0 + x, b0 + x - k, 0


def _furthest(forward: dict[int, int], k: int, cost: int, n: int) -> int:
    """Where the search from the start enters diagonal k, or -1."""
    right = forward.get(k - 1, -2) + 1 if k > -cost else -1
    down = forward.get(k + 1, -1) if k < cost else -1
    return min(max(right, down), n) if cost else 0


def _nearest(backward: dict[int, int], k: int, delta: int, cost: int) -> int:
    """Where the search from the end enters diagonal k, or -1."""
    left = backward.get(k - 1) if k > delta - cost else None
    up = backward.get(k + 1) if k < delta + cost else None
    if left is None and up is None:
        return -1
    return max(min(x for x in (left, None if up is None else up - 1) if x is not None), 0)
