"""Text differences: right, shortest for small texts, and bounded for large ones."""

from hypothesis import given
from hypothesis import strategies as st

from talos import textdiff
from talos.textdiff import edits, unified

lines = st.lists(st.sampled_from("abcd"), max_size=14)


def sides(script: list[str]) -> tuple[list[str], list[str]]:
    """The old and the new lines of an edit script."""
    return [line[1:] for line in script if line[0] != "+"], [line[1:] for line in script if line[0] != "-"]


def longest_common(old: list[str], new: list[str]) -> int:
    previous = [0] * (len(new) + 1)
    for line in old:
        current = [0]
        for column, other in enumerate(new):
            current.append(previous[column] + 1 if line == other else max(previous[column + 1], current[column]))
        previous = current
    return previous[-1]


@given(lines, lines)
def test_a_difference_is_right_and_the_shortest(old, new):
    script = edits(old, new)
    assert sides(script) == (old, new)
    assert sum(line[0] == " " for line in script) == longest_common(old, new)


def test_of_several_shortest_differences_the_one_of_talos_is_chosen():
    assert unified("a\nb\nc\n", "c\nb\na\n") == "@@ -1,3 +1,3 @@\n-a\n-b\n c\n+b\n+a\n"


def test_hunks_whose_contexts_only_touch_stay_apart():
    text = unified("x\n1\n2\n3\n4\n5\n6\ny\n", "X\n1\n2\n3\n4\n5\n6\nY\n")
    assert [line for line in text.splitlines() if line.startswith("@@")] == ["@@ -1,4 +1,4 @@", "@@ -5,4 +5,4 @@"]


@given(lines, lines)
def test_the_text_says_the_same(old, new):
    text = unified("".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new))
    result, at = [], 0
    for line in text.splitlines():
        if line.startswith("@@"):
            start, count = map(int, line.split()[1][1:].split(","))
            first = start - 1 if count else start
            result += old[at:first]
            at = first
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert old[at] == line[1:]
            at += 1
            result += line[1:] if line[0] == " " else []
    assert result + old[at:] == new


def test_the_search_is_cut_short_where_nothing_is_alike(monkeypatch):
    monkeypatch.setattr(textdiff, "_MAX_COST", 4)
    old = [f"old {number}" for number in range(500)] + ["same"] * 10
    new = [f"new {number}" for number in range(400)] + ["same"] * 10 + ["end"]
    assert sides(edits(old, new)) == (old, new)


def test_a_huge_difference_is_one_line():
    assert unified("a\n" * 40_000, "b\n" * 40_000) == "@@ -1,40000 +1,40000 @@ diff too large to display\n"
    assert unified("", "x" * 600_000) == "@@ -1,0 +1,1 @@ diff too large to display\n"
