"""The picture of a mesh: where its sites, nodes and lines are. Pure.

Nodes stand on the rim of their site, whole sites are joined by one line with a count, and only pairs in trouble are
drawn singly. So it says the same of 3, 50 and 1,000 nodes, and is never more than some hundred shapes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import atan2, cos, degrees, hypot, pi, sin, sqrt

from kubespan.mesh import Mesh, Pair, Side
from kubespan.reasons import Problem

SITES = 10
"""Sites that are drawn: those with trouble first, then the largest."""

FEW, SOME = 3, 6
"""Sites among which there is room for large circles and for words on each line; for middle ones."""

RIM = 64
"""Nodes of a site that are drawn one by one; of a larger site only those in trouble are."""

EDGES = 24
"""Lines of single pairs."""

NAMED = 16
"""Nodes of a mesh in which each is named, and joined with those of its own site one by one."""

LABELS = 14
"""Names of nodes in a larger one."""

WIDTH, HEIGHT = 690.0, 320.0
"""The least that is shown, so that a small mesh is not blown up."""

LETTER, TITLE_LETTER = 6.4, 8.0
"""Width of a letter, on average."""

ROOM = 1.5
"""How much wider names may be on a small screen."""

LONGEST = 26
"""Letters of a name that are shown; the middle of a longer one is left out."""

ONE, NONE = "one", "none"
_CLASSES = {Pair.ONE_SIDED: ONE, Pair.DOWN: NONE, Pair.MISSING: NONE}

Point = tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """A site: a circle, with its name inside, or below where it is too long."""

    x: float
    y: float
    r: float
    name: str
    size: int
    up: int
    total: int
    many: bool
    text_y: float
    below: bool

    @property
    def lines(self) -> list[float]:
        """Where its second and third line of text are."""
        return [self.text_y + 16, self.text_y + 31]


@dataclass(frozen=True)
class Line:
    """All pairs between two sites."""

    x1: float
    y1: float
    x2: float
    y2: float
    up: int
    total: int
    text_x: float
    text_y: float
    worded: bool


@dataclass(frozen=True)
class Edge:
    """A pair in trouble; `tip` (x, y, degrees) points to the one that still hears."""

    d: str
    kind: str
    tip: tuple[float, float, float] | None


@dataclass(frozen=True)
class Dot:
    """A node."""

    x: float
    y: float
    name: str
    id: str
    control_plane: bool
    noted: bool
    selected: bool

    @property
    def corner(self) -> Point:
        return self.x - 5, self.y - 5


@dataclass(frozen=True)
class Label:
    """The name of a node beside it."""

    x: float
    y: float
    anchor: str
    text: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        width = len(self.text) * LETTER
        left = self.x - (width if self.anchor == "end" else width / 2 if self.anchor == "middle" else 0)
        return left, self.y - 10, left + width, self.y + 4

    @property
    def room(self) -> tuple[float, float, float, float]:
        """What it takes where letters are large."""
        left, top, right, bottom = self.box
        more = (right - left) * (ROOM - 1)
        return (left - more, top, right, bottom) if self.anchor == "end" else (left, top, right + more, bottom)


@dataclass
class Picture:
    """Everything to be drawn, and in words what is left out."""

    zones: list[Zone] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    inner: list[tuple[float, float, float, float]] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    view: tuple[float, float, float, float] = (0, 0, WIDTH, HEIGHT)
    sites_left: int = 0
    edges_left: int = 0

    @property
    def kinds(self) -> set[str]:
        """Of single lines."""
        return {edge.kind for edge in self.edges}


def draw(mesh: Mesh, problems: Sequence[Problem], selected: int | None = None) -> Picture:
    """The picture of a mesh with what is wrong in it."""
    shown = [problem for problem in problems if problem.state in _CLASSES]
    return _Drawing(mesh, shown, selected).picture


class _Drawing:
    def __init__(self, mesh: Mesh, problems: Sequence[Problem], selected: int | None) -> None:
        self.mesh, self.selected = mesh, selected
        self.picture = Picture()
        self.site_of = [0] * mesh.size
        for number, site in enumerate(mesh.groups):
            self.site_of[site.first : site.last] = [number] * site.size
        self.sites = self._choose(problems)
        self.zone: dict[int, Zone] = {}
        drawn = [problem for problem in problems if self.site_of[problem.about] in self.sites]
        pairs = [(problem, other) for problem in drawn for other in self._others(problem)]
        self.picture.edges_left = max(0, len(pairs) - EDGES)
        pairs = pairs[:EDGES]
        self.noted = dict.fromkeys([selected] if selected is not None else [])
        for problem, other in pairs:
            self.noted[problem.about] = None
            if other >= 0:
                self.noted[other] = None
        self._place()
        self._join()
        self._inside()
        for problem, other in pairs:
            self._edge(problem, other)
        self._dots()
        self._frame()

    def _choose(self, problems: Sequence[Problem]) -> list[int]:
        """The sites to draw, the largest first."""
        groups = self.mesh.groups
        worst: dict[int, None] = {}
        for problem in problems[:EDGES]:
            for i in (problem.about, *problem.others[:1]):
                worst[self.site_of[i]] = None
        order = sorted(range(len(groups)), key=lambda number: (number not in worst, -groups[number].size))
        self.picture.sites_left = max(0, len(order) - SITES)
        return sorted(order[:SITES], key=lambda number: (-groups[number].size, number))

    def _others(self, problem: Problem) -> Iterable[int]:
        """What a problem is drawn to: a node, or of a problem with many nodes each of their sites (-1 - number)."""
        if len(problem.others) == 1:
            return [other for other in problem.others if self.site_of[other] in self.sites]
        sites = dict.fromkeys(self.site_of[other] for other in problem.others)
        return [-1 - site for site in sites if site in self.sites]

    # --- sites ------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Sites on an oval, the largest at its left end, none too near to another."""
        groups, number = self.mesh.groups, len(self.sites)
        most, gap = (150.0, 96.0) if number <= FEW else (98.0, 70.0) if number <= SOME else (64.0, 48.0)
        least = 108.0 if number == 1 else 36.0
        radii = [max(least, min(most, 26 + 19 * sqrt(groups[site].size))) for site in self.sites]
        total, angle, angles = sum(radii), pi, []
        for place, radius in enumerate(radii):
            angle += pi * radius / total if place else 0.0
            angles.append(angle)
            angle += pi * radius / total
        reach = 0.0
        while True:
            spots = [(reach * 1.25 * cos(angle), reach * 0.8 * sin(angle)) for angle in angles]
            if _apart(spots, radii, gap):
                break
            reach += 8.0
        for site, (x, y), radius in zip(self.sites, spots, radii, strict=True):
            group = groups[site]
            below = len(group.name) * TITLE_LETTER > 1.75 * radius or radius < 44 or self.mesh.size <= NAMED
            self.zone[site] = Zone(
                x, y, radius, shortened(group.name), group.size, group.up, group.total, group.size > RIM,
                y + radius + 26 if below else y - 10, below,
            )  # fmt: skip
        self.picture.zones = list(self.zone.values())

    def _join(self) -> None:
        """One line for all pairs of two sites; among many sites only where something is wrong."""
        taken = [_title(zone) for zone in self.picture.zones]
        for between in self.mesh.between:
            one, other = self.zone.get(between.one), self.zone.get(between.other)
            wrong = between.up < between.total
            if one is None or other is None or (len(self.sites) > SOME and not wrong):
                continue
            length = hypot(other.x - one.x, other.y - one.y)
            ux, uy = (other.x - one.x) / length, (other.y - one.y) / length
            x1, y1 = one.x + ux * (one.r + 4), one.y + uy * (one.r + 4)
            x2, y2 = other.x - ux * (other.r + 4), other.y - uy * (other.r + 4)
            worded = wrong or len(self.sites) <= FEW
            for part in (0.5, 0.36, 0.64, 0.24, 0.76):
                line = Line(
                    x1, y1, x2, y2, between.up, between.total, x1 + (x2 - x1) * part, y1 + (y2 - y1) * part + 4, worded
                )
                if not any(_overlap(_words(line), box) for box in taken):
                    break
            self.picture.lines.append(line)
            taken += [_words(line)] if worded else []

    def _inside(self) -> None:
        """In a small mesh the pairs of a site that are up, one by one."""
        mesh = self.mesh
        for site in self.sites if mesh.size <= NAMED else ():
            members = range(mesh.groups[site].first, mesh.groups[site].last)
            pairs = ((i, j) for i in members for j in members if i < j and mesh.pair(i, j) is Pair.UP)
            self.picture.inner += [(*self._spot(i), *self._spot(j)) for i, j in pairs]

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _spot(self, i: int) -> Point:
        """Where a node stands on the rim of its site."""
        group, zone = self.mesh.groups[self.site_of[i]], self.zone[self.site_of[i]]
        angle = 2 * pi * (i - group.first + 0.5) / group.size - pi / 2
        return zone.x + zone.r * cos(angle), zone.y + zone.r * sin(angle)

    def _dots(self) -> None:
        every = self.mesh.size <= NAMED
        boxes = [_title(zone) for zone in self.picture.zones]
        boxes += [_words(line) for line in self.picture.lines if line.worded]
        plain: list[Dot] = []
        for site in self.sites:
            group = self.mesh.groups[site]
            members = range(group.first, group.last) if group.size <= RIM else ()
            plain += [self._dot(i) for i in members if i not in self.noted]
        noted = [self._dot(i) for i in self.noted if self.site_of[i] in self.zone]
        self.picture.dots = plain + noted[::-1]
        candidates = [*self.noted, *(i for i in range(self.mesh.size) if every and i not in self.noted)]
        for i in candidates:
            if self.site_of[i] in self.zone and len(self.picture.labels) < (NAMED if every else LABELS):
                self._name(i, boxes)

    def _dot(self, i: int) -> Dot:
        node, (x, y) = self.mesh.nodes[i], self._spot(i)
        return Dot(x, y, node.name, node.id, node.role == "controlplane", i in self.noted, i == self.selected)

    def _name(self, i: int, boxes: list[tuple[float, float, float, float]]) -> None:
        """Name a node, inside of a large site or outside of it, where nothing else is written."""
        (x, y), zone, text = self._spot(i), self.zone[self.site_of[i]], shortened(self.mesh.nodes[i].name)
        right = x >= zone.x
        inside = Label(x - 11 if right else x + 11, y + 4, "end" if right else "start", text)
        outside = Label(x + 11 if right else x - 11, y + 4, "start" if right else "end", text)
        for label in (inside, outside) if zone.r >= 100 and not zone.below else (outside,):
            if not any(_overlap(label.box, box) for box in boxes):
                self.picture.labels.append(label)
                boxes.append(label.box)
                return

    # --- pairs ------------------------------------------------------------------------------------------------------

    def _edge(self, problem: Problem, other: int) -> None:
        start, kind = self._spot(problem.about), _CLASSES[problem.state]
        here = self.zone[self.site_of[problem.about]]
        tip = None
        if other >= 0:
            end, there = self._spot(other), self.zone[self.site_of[other]]
        else:
            there = self.zone[-1 - other]
            end = _near(there, start) if there is not here else (there.x, there.y)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        if here is there:
            bend = ((middle[0] + here.x) / 2, (middle[1] + here.y) / 2)
        else:
            bend = (middle[0] - (end[1] - start[1]) * 0.14, middle[1] + (end[0] - start[0]) * 0.14)
        if kind == ONE:
            back = problem.there is Side.UP  # the first one hears
            turn = atan2(start[1] - end[1], start[0] - end[0]) if back else atan2(end[1] - start[1], end[0] - start[0])
            tip = (
                (start[0] + 2 * bend[0] + end[0]) / 4,
                (start[1] + 2 * bend[1] + end[1]) / 4,
                degrees(turn),
            )
        d = f"M{start[0]:.1f} {start[1]:.1f}Q{bend[0]:.1f} {bend[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
        self.picture.edges.append(Edge(d, kind, tip))

    def _frame(self) -> None:
        """What is to be seen: everything, with a little around it."""
        boxes = [(zone.x - zone.r, zone.y - zone.r, zone.x + zone.r, zone.y + zone.r) for zone in self.picture.zones]
        boxes += [_title(zone) for zone in self.picture.zones]
        boxes += [label.room for label in self.picture.labels]
        if not boxes:
            return
        left, top = min(box[0] for box in boxes) - 16, min(box[1] for box in boxes) - 16
        right, bottom = max(box[2] for box in boxes) + 16, max(box[3] for box in boxes) + 16
        width, height = max(WIDTH, right - left), max(HEIGHT, bottom - top)
        self.picture.view = ((left + right - width) / 2, (top + bottom - height) / 2, width, height)


def shortened(name: str) -> str:
    """A name of which the middle is left out if it is long."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"


def _apart(spots: Sequence[Point], radii: Sequence[float], gap: float) -> bool:
    """Whether no two circles are nearer than a line with its text is long."""
    return all(
        hypot(spots[i][0] - spots[j][0], spots[i][1] - spots[j][1]) >= radii[i] + radii[j] + gap
        for i in range(len(spots))
        for j in range(i)
    )


def _near(zone: Zone, point: Point) -> Point:
    """The point of a rim that is nearest to another one."""
    length = hypot(point[0] - zone.x, point[1] - zone.y) or 1.0
    return zone.x + (point[0] - zone.x) / length * zone.r, zone.y + (point[1] - zone.y) / length * zone.r


def _title(zone: Zone) -> tuple[float, float, float, float]:
    half = max(len(zone.name) * TITLE_LETTER, 90) / 2
    return zone.x - half, zone.text_y - 14, zone.x + half, zone.text_y + 34


def _words(line: Line) -> tuple[float, float, float, float]:
    return line.text_x - 48, line.text_y - 12, line.text_x + 48, line.text_y + 4


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
