"""Notebooks run top to bottom, and are kept clean in the repository."""

import base64
import io
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


NUM_PICTURES = {"00_quickstart": 3, "01_prepare_data": 2}


def test_these_are_the_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == list(NUM_PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_clean_and_has_its_parts(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell for cell in code if cell.outputs] == []
    assert [cell for cell in code if len(cell.source.splitlines()) > 12] == []
    assert [tag for cell in code for tag in cell.metadata.get("tags", [])] == ["parameters"]
    for before, cell in zip(notebook.cells, notebook.cells[1:], strict=False):
        if before.cell_type == cell.cell_type == "code":
            assert cell.source.startswith("Video("), "prose stands before code"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_top_to_bottom(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITAKIT_HOME", str(tmp_path / "home"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        store_widget_state=False,
    ).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [
        output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"
    ] == []
    widgets = [output.data for output in outputs if "widget-view" in str(output.get("data", {}).keys())]
    assert all("/" in data["text/plain"] for data in widgets), "a widget that is blank where it is not run"
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= NUM_PICTURES[path.stem]
    for picture in pictures:
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("L")
        assert image.width > 400
        assert image.getextrema()[0] < 100, "a picture that shows nothing"
