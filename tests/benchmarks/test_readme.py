"""README's figures of speed: written from the results, between two marks, and true to the command that it names."""

import json

import pytest

from benchmarks import __main__ as nets
from benchmarks import batches, readme
from benchmarks.cli import RESULTS, flags
from benchmarks.contenders import CONTENDERS
from minidl.errors import DataError

MACHINE = {"processor": "Intel(R) Xeon(R) Processor", "cores": 2, "simd": "AVX-512", "torch": "2.13.0+cpu"}


def figures(**settings):
    return {
        "machine": MACHINE,
        "settings": {"batch_size": 64, "rounds": 7, "steps": 3, "date": "2017-06-12", **settings},
        "train_img_s": {"minidl": 200.0, "torch_channels_last": 100.0, "torch_bf16": 160.0},
        "infer_img_s": {"minidl": 700.0, "torch_channels_last": 400.0, "torch_bf16": 600.0},
        "peak_rss_mb": {"minidl": 600, "torch_channels_last": 1300, "torch_bf16": 900},
    }


@pytest.fixture
def results(tmp_path):
    def put(name, content):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))

    put("refined", figures(rounds=9))
    put("vgg", figures())
    put("batches", {**figures(), "batches": {"1": figures(), "64": figures()}})
    put("machines", [{"processor": "Abacus", "date": "1642-01-01", "train_fp32": "0.5"}])
    return tmp_path


def test_all_parts(results):
    text = readme.block(results)
    assert "on 2 cores of Intel Xeon (AVX-512), 2017-06-12" in text and "`python -m benchmarks --rounds 9`" in text
    assert "| PyTorch 2.13, bf16 autocast, channels last | 160 | 1.25 | 600 | 1.17 | 900 MB |" in text
    assert "| training, times the best other in float32 | 2.00 | 2.00 |" in text
    assert "| inference, times PyTorch in bf16 | 1.17 | 1.17 |" in text
    assert (
        "(`--network vgg`), training | 200 | 100 (PyTorch eager, channels last) | 2.00 | 160 (PyTorch, bf16" in text
    )
    assert "| 600; 1,300 MB |" in text and "emulates" not in text
    assert "| Intel Xeon (AVX-512) | 2017-06-12 | 2.00 | 1.75 | 1.25 | 1.17 |\n| Abacus | 1642-01-01 | 0.5 |" in text
    assert max(len(line) for line in text.splitlines() if line[:1] not in ("|", "!")) <= 118


def test_a_processor_without_bf16_is_named(results):
    seen = figures()
    seen["machine"] = {**MACHINE, "bf16": "emulated"}
    (results / "refined.json").write_text(json.dumps(seen))
    assert "This processor has no instructions for bf16" in readme.block(results)


def test_parts_that_were_not_measured_are_left_out(tmp_path):
    (tmp_path / "refined.json").write_text(json.dumps(figures()))
    text = readme.block(tmp_path)
    assert "`python -m benchmarks`;" in text and "By batch size" not in text and "Other networks" not in text


def test_only_what_stands_between_the_marks_is_replaced(results, tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.START}\nold\n{readme.END}\nafter\n")
    monkeypatch.setattr(readme, "README", page)
    monkeypatch.setattr(readme, "RESULTS", results)
    for _ in range(2):
        readme.main()
        assert page.read_text() == f"before\n{readme.START}\n\n{readme.block(results)}\n\n{readme.END}\nafter\n"
    for text in ("no marks", f"{readme.START} and no end", f"{readme.END}{readme.START}"):
        page.write_text(text)
        with pytest.raises(DataError, match="^README.md has no <!--"):
            readme.main()
        assert page.read_text() == text


def test_the_readme_says_what_the_results_say():
    shown = readme.README.read_text("utf-8").partition(readme.START)[2].partition(readme.END)[0].strip()
    measured = json.loads((RESULTS / "refined.json").read_text("utf-8"))
    run = f"{readme.processor(measured['machine'])}, {measured['settings']['date']}"
    if run in " ".join(shown.split()):  # otherwise the reader has measured on a machine of their own
        assert shown == readme.block(RESULTS), "write it anew with `python -m benchmarks.readme`"


def test_every_contender_and_network_has_words():
    names = {name for network in ("refined", *readme.NETWORKS) for name in CONTENDERS[network]}
    assert names == readme.LABELS.keys() and {"refined", *readme.NETWORKS} == nets.TABLES.keys()
    assert batches.NETWORK == "refined"


def test_the_command_without_flags_is_the_one_with_the_default_sizes(monkeypatch):
    asked = {}
    monkeypatch.setattr("benchmarks.contenders.find_spec", lambda package: package)  # as if all were installed
    monkeypatch.setattr(nets, "flags", lambda *args, **sizes: asked.update(sizes) or flags(*args, **sizes))
    monkeypatch.setattr("sys.argv", ["benchmarks", "--rounds", "0"])
    with pytest.raises(SystemExit):
        nets.main()
    assert {name: sizes[0] for name, sizes in asked.items()} == {"batch_size": 64, **readme.DEFAULTS}
    assert {quick for _, quick in asked.values()} == {64, 3, 1}
