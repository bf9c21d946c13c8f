"""The Auto classes of transformers know litakit's folders in a process that only imports litakit."""

import subprocess
import sys

import pytest

from tests._small_lita import small_lita

LITAKIT_FIRST = "import litakit, sys; assert not {'torch', 'transformers'} & {*sys.modules}\n"
AUTO = "from transformers import AutoConfig, AutoProcessor\n"
LOAD = """
from transformers import AutoModel, AutoTokenizer
for auto in (AutoConfig, AutoProcessor, AutoModel, AutoTokenizer):
    print(type(auto.from_pretrained(FOLDER)).__name__)
"""
ORDERS = {
    "litakit first": LITAKIT_FIRST + AUTO,
    "transformers first": AUTO + "import litakit\n",
    "as attributes": LITAKIT_FIRST
    + "import transformers; assert 'litakit.modeling' not in sys.modules\n"
    + "AutoConfig, AutoProcessor = transformers.AutoConfig, transformers.AutoProcessor\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("lita")
    for part in small_lita():
        part.save_pretrained(where)
    return where


@pytest.mark.parametrize("order", ORDERS)
def test_whoever_only_imports_litakit_loads_its_folders(folder, order):
    code = f"FOLDER = {str(folder)!r}\n" + ORDERS[order] + LOAD
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        "LitaConfig",
        "LitaProcessor",
        "LitaForConditionalGeneration",
        "LitaTokenizer",
    ]
