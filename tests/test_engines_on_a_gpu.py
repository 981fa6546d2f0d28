"""Engines as `make engine` builds them, run where they are meant to run; without a GPU each test says why it is left.

On a machine with one: `python -m pytest -m gpu`.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from deploy import Runtime, open_bundle
from deploy.gpu import gpus
from deploy.parity.report import verdict
from deploy.selection import ENGINES, waiting
from engines.targets.timing import on_gpu

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not gpus(), reason="needs an NVIDIA GPU")]

PRECISIONS = ("fp32", "fp16", "int8")
SAME = {"fp32": 1e-5, "fp16": 1e-2, "int8": 1e-1}
"""How far results may lie apart, in units of the output's scale, where another batch takes another kernel."""
MODELS = ("mean_spot_cbam", "digits", "speech")


@pytest.fixture(scope="module", params=sorted(ENGINES))
def target(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(ENGINES[request.param], reason=f"{request.param} is not installed")
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-python is not installed")
    return str(request.param)


@pytest.fixture(scope="module", params=MODELS)
def bundle(request: pytest.FixtureRequest, target: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model's bundle with an engine of every precision, for this machine's GPU."""
    from examples.build import build_reference
    from examples.reference import reference

    folder = tmp_path_factory.mktemp(target)
    build_reference(reference(request.param), folder, ",".join(PRECISIONS), target)
    for engine in waiting(open_bundle(folder / request.param).manifest):
        if "was built for" in engine.reason:
            pytest.skip(f"{target} builds no engine for this GPU: {engine.reason}")
    return Path(folder / request.param)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_runs_and_equals_keras(bundle: Path, target: str, precision: str) -> None:
    """It deserializes, and its outputs on the golden inputs are Keras's, within the bound of its precision."""
    with Runtime.load(bundle, target, precision) as runtime:
        assert (runtime.backend, runtime.precision) == (target, precision)
        assert runtime.batch == (1, 8)
        parity = runtime.selftest()
        assert parity is not None
        assert parity.passed, verdict(parity)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_batch_gives_the_same(bundle: Path, target: str, precision: str) -> None:
    """Sample by sample and all at once, in any order of batches: nothing of an earlier run is left in the memory."""
    with Runtime.load(bundle, target, precision) as runtime:
        inputs = runtime.sample(8)
        whole = runtime(inputs)
        for batch in (1, 3, 8, 2):
            part = runtime({name: array[:batch] for name, array in inputs.items()})
            for name, array in part.items():
                scale = float(np.abs(whole[name]).max())
                np.testing.assert_allclose(array, whole[name][:batch], rtol=0, atol=SAME[precision] * scale)


def test_auto_takes_the_fp16_engine(bundle: Path, target: str) -> None:
    with Runtime.load(bundle) as runtime:
        assert (runtime.backend, runtime.precision) == (target, "fp16")
        measured = runtime.benchmark(batch=1, runs=20, seconds=1)
        assert (measured.backend, measured.precision) == (target, "fp16")


def test_engines_are_timed_against_each_other(bundle: Path, target: str) -> None:
    """What `--precision auto` goes by on such a machine."""
    manifest = open_bundle(bundle).manifest
    fp16, int8 = (
        (bundle / artifact.file).read_bytes()
        for precision in ("fp16", "int8")
        for artifact in manifest.artifacts
        if artifact.kind == "engine" and artifact.precision == precision
    )
    measured = on_gpu(fp16, int8, target, 8)
    assert measured is not None
    assert 0 < measured.first < 1000
    assert 0 < measured.second < 1000
