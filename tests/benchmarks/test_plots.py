from xml.etree import ElementTree

import pytest

from benchmarks.plots import COLOURS, axes_of, curves_svg, write_svg

SVG = "{http://www.w3.org/2000/svg}"
CURVES = {"one": [(1.0, 2.0), (10.0, 4.0)], "other & more": [(5.0, 3.0)]}


def test_every_point_lies_inside_and_every_curve_is_named():
    root = ElementTree.fromstring(curves_svg("a < b", CURVES, x_label="frames"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a < b", "frames", "one", "other & more"} <= set(texts)
    axes, dots = axes_of(CURVES), list(root.iter(f"{SVG}circle"))
    assert [dot.get("fill") for dot in dots] == [COLOURS[0], COLOURS[0], COLOURS[1]]
    for dot, (x, y) in zip(dots, [*CURVES["one"], *CURVES["other & more"]], strict=True):
        assert float(dot.get("cx")) == pytest.approx(axes.x(x), abs=0.1)
        assert float(dot.get("cy")) == pytest.approx(axes.y(y), abs=0.1)
        assert axes.left <= float(dot.get("cx")) <= axes.right
        assert axes.top <= float(dot.get("cy")) <= axes.bottom


def test_the_same_numbers_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        write_svg(tmp_path / "new" / name, curves_svg("t", CURVES, x_label="x"))
    assert (tmp_path / "new" / "a.svg").read_bytes() == (tmp_path / "new" / "b.svg").read_bytes()
