"""A product is made again only where its sources, edgekd or the product itself have changed."""

from pathlib import Path

import pytest

from edgekd.files import write_bytes
from edgekd.pipeline import outputs
from edgekd.pipeline.outputs import make_output


class Product:
    def __init__(self, folder: Path):
        self.folder, self.made = folder, 0
        for name in ("report.json", "exports/a/model.onnx"):
            write_bytes(folder / name, name.encode())

    def make(self) -> None:
        self.made += 1
        for name in ("bundle/manifest.json", "bundle/model/int8.onnx"):
            write_bytes(self.folder / name, (self.folder / "report.json").read_bytes())

    def again(self) -> int:
        """How often it has been made after another start."""
        make_output(self.folder, "bundle", ["report.json", "exports"], self.make)
        return self.made


@pytest.fixture
def product(tmp_path) -> Product:
    product = Product(tmp_path)
    assert product.again() == 1
    return product


def test_it_is_made_once(product):
    before = {path: path.stat().st_mtime_ns for path in product.folder.rglob("*")}
    assert product.again() == product.again() == 1
    assert {path: path.stat().st_mtime_ns for path in product.folder.rglob("*")} == before


@pytest.mark.parametrize(
    "name", ["report.json", "exports/a/model.onnx", "exports/b/new", "bundle/model/int8.onnx", "bundle/.DS_Store"]
)
def test_again_where_a_file_has_changed(product, name):
    write_bytes(product.folder / name, b"changed")
    assert (product.again(), product.again()) == (2, 2)
    assert (product.folder / "bundle/model/int8.onnx").read_bytes() == (product.folder / "report.json").read_bytes()


def test_again_where_a_file_is_missing_or_the_record_is_damaged(product):
    (product.folder / "bundle/manifest.json").unlink()
    assert product.again() == 2
    for content in ("", "[]", '{"bundle": 1}'):
        (product.folder / outputs.PRODUCTS).write_text(content)
        product.again()
    assert (product.made, product.again()) == (5, 5)


@pytest.mark.parametrize("about", ["source_digest", "packages"])
def test_again_with_another_edgekd_or_package(product, monkeypatch, about):
    monkeypatch.setattr(outputs, about, lambda: "another")
    assert (product.again(), product.again()) == (2, 2)


def test_each_product_has_its_own_key(product):
    make_output(
        product.folder, "report.html", ["report.json"], lambda: write_bytes(product.folder / "report.html", b"")
    )
    assert product.again() == 1
