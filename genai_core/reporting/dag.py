"""Draw a graph, such as the pipeline's, as SVG: layers from left to right, without redundant arrows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import networkx as nx

LETTER_PX = 6.6  # width of a letter at FONT_PX, slightly generous, because fonts differ
FONT_PX = 12
LINE_PX = 15
PADDING_PX = 10
LAYER_GAP_PX = 30
ROW_GAP_PX = 14
# An arrow that passes through a layer needs less space than a box.
BEND_PX = 10
SWEEPS = 8


@dataclass
class _Node:
    """A box or, without lines, the point where a long arrow passes through a layer."""

    layer: int
    lines: tuple[str, ...] = ()
    x: float = 0.0
    y: float = 0.0  # of the centre
    width: float = 0.0
    height: float = BEND_PX


def dag_svg(
    edges: Iterable[tuple[str, str]],
    notes: Mapping[str, str] | None = None,
    label: str = "The stages and what each needs",
) -> str:
    """Draw (upstream, downstream) edges as SVG; `notes`: lines, such as the seconds, to put below a node's name.

    Text and lines use the page's `currentColor`. The part of a name after an @ (DVC's foreach stages) gets its own
    line. Raises ValueError when the edges have a cycle, or there are none.
    """
    graph: nx.DiGraph[str] = nx.DiGraph(sorted(edges))
    if not graph:
        raise ValueError("a graph needs edges, got none")
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError(f"the edges have a cycle: {nx.find_cycle(graph)}")
    reduced = nx.transitive_reduction(graph)
    nodes = _layered(reduced, notes or {})
    paths = _with_bends(reduced, nodes)
    width, height = _place(_ordered(nodes, paths), nodes)
    parts = [
        f'<svg class="dag" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg" aria-label="{escape(label)}" font-size="{FONT_PX}">'
    ]
    parts += [_arrow([nodes[name] for name in path]) for path in paths]
    parts += [_box(node) for node in nodes.values() if node.lines]
    return "\n".join([*parts, "</svg>"])


def in_order(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> list[str]:
    """Sort `names` in topological order; names that are not in the graph come last."""
    graph: nx.DiGraph[str] = nx.DiGraph(sorted(edges))
    place = {name: index for index, name in enumerate(nx.lexicographical_topological_sort(graph))}
    return sorted(names, key=lambda name: (place.get(name, len(place)), name))


def _layered(graph: "nx.DiGraph[str]", notes: Mapping[str, str]) -> dict[str, _Node]:
    """Assign a node's layer by the longest path to it; move sources right, next to the first node that needs them."""
    layers: dict[str, int] = {}
    for name in nx.lexicographical_topological_sort(graph):
        layers[name] = max((layers[upstream] + 1 for upstream in graph.predecessors(name)), default=0)
    for name in graph:
        if graph.in_degree(name) == 0 and graph.out_degree(name):
            layers[name] = min(layers[downstream] for downstream in graph.successors(name)) - 1
    nodes = {}
    for name in graph:
        lines = tuple(name.split("@", 1)) + tuple(notes.get(name, "").splitlines())
        width = max(map(len, lines)) * LETTER_PX + 2 * PADDING_PX
        nodes[name] = _Node(layers[name], lines, width=width, height=len(lines) * LINE_PX + PADDING_PX)
    return nodes


def _with_bends(graph: "nx.DiGraph[str]", nodes: dict[str, _Node]) -> list[list[str]]:
    """Return each arrow's path with one node per layer; add the bends to `nodes`."""
    paths = []
    for upstream, downstream in sorted(graph.edges):
        between = range(nodes[upstream].layer + 1, nodes[downstream].layer)
        bends = [f"{upstream}\0{downstream}\0{layer}" for layer in between]
        nodes.update({bend: _Node(layer) for bend, layer in zip(bends, between, strict=True)})
        paths.append([upstream, *bends, downstream])
    return paths


def _ordered(nodes: dict[str, _Node], paths: list[list[str]]) -> list[list[str]]:
    """Order each layer's nodes to reduce crossings, by barycentre sweeps (Sugiyama et al. 1981)."""
    neighbours: dict[str, list[str]] = {name: [] for name in nodes}
    for path in paths:
        for upstream, downstream in pairwise(path):
            neighbours[upstream].append(downstream)
            neighbours[downstream].append(upstream)
    layers: list[list[str]] = [[] for _ in range(1 + max(node.layer for node in nodes.values()))]
    for name in sorted(nodes):
        layers[nodes[name].layer].append(name)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            place = {name: (index + 0.5) / len(row) for row in layers for index, name in enumerate(row)}
            side = -1 if forward else 1

            def barycentre(name: str, place: dict[str, float] = place, side: int = side) -> float:
                near = [place[other] for other in neighbours[name] if nodes[other].layer == nodes[name].layer + side]
                return sum(near) / len(near) if near else place[name]

            layer.sort(key=barycentre)
    return layers


def _place(layers: list[list[str]], nodes: dict[str, _Node]) -> tuple[float, float]:
    """Set x and y of every node; return the drawing's width and height."""
    heights = [sum(nodes[name].height + ROW_GAP_PX for name in layer) - ROW_GAP_PX for layer in layers]
    left, height = 1.0, max(heights)
    for layer, layer_height in zip(layers, heights, strict=True):
        widest = max(nodes[name].width for name in layer)
        top = 1 + (height - layer_height) / 2
        for name in layer:
            node = nodes[name]
            node.x, node.y = left + (widest - node.width) / 2, top + node.height / 2
            top += node.height + ROW_GAP_PX
        left += widest + LAYER_GAP_PX
    return left - LAYER_GAP_PX + 1, height + 2


def _arrow(path: list[_Node]) -> str:
    first, last = path[0], path[-1]
    x, y = first.x + first.width, first.y
    line = [f"M{x:.1f} {y:.1f}"]
    for node in path[1:]:
        # The last few pixels are for the arrowhead.
        end_x = node.x - (4 if node is last else 0)
        middle = (x + end_x) / 2
        line.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {node.y:.1f} {end_x:.1f} {node.y:.1f}")
        x, y = end_x, node.y
    tip = f"M{last.x - 5:.1f} {last.y - 3:.1f}l5 3l-5 3z"
    return (
        f'<path d="{"".join(line)}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
        f'<path d="{tip}" fill="currentColor" fill-opacity=".55"/>'
    )


def _box(node: _Node) -> str:
    top = node.y - node.height / 2
    text = []
    for index, line in enumerate(node.lines):
        y = top + PADDING_PX / 2 + (index + 0.76) * LINE_PX
        faint = ' fill-opacity=".6"' if index else ""
        x = node.x + node.width / 2
        text.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="currentColor"{faint}>{escape(line)}</text>'
        )
    return (
        f'<rect x="{node.x:.1f}" y="{top:.1f}" width="{node.width:.1f}" height="{node.height:.1f}" rx="6" '
        f'fill="currentColor" fill-opacity=".05" stroke="currentColor" stroke-opacity=".25"/>{"".join(text)}'
    )
