from __future__ import annotations

import pytest

from deploy.errors import BuildError
from engines.search.budget import Limit, parse


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("sqnr=30dB", "sqnr", 30.0),
        ("SQNR = 30", "sqnr", 30.0),
        ("kl=1e-3", "kl", 1e-3),
        ("agreement=99.5%", "agreement", 0.005),
        ("top1=0.1pp", "top1", 0.001),
        ("top1=0.1%", "top1", 0.001),
    ],
)
def test_every_form_is_read_with_its_unit(text: str, metric: str, bound: float) -> None:
    (limit,) = parse(text)
    assert (limit.metric, limit.bound) == (metric, pytest.approx(bound))


def test_several_bounds_hold_together() -> None:
    assert [limit.text for limit in parse("top1=0.1pp, sqnr=30dB")] == ["top1=0.1pp", "sqnr=30dB"]
    assert all(isinstance(limit, Limit) for limit in parse("kl=0.1,sqnr=20"))


@pytest.mark.parametrize(
    "text",
    ["", "top1", "top1=0.1", "agreement=0.995", "agreement=101%", "sqnr=30%", "sqnr=-3dB", "kl=1.2.3", "psnr=30dB",
     "top1=0pp", "sqnr=30dB,sqnr=40dB", "top1=nanpp"],
)  # fmt: skip
def test_nonsense_is_refused_with_the_forms_there_are(text: str) -> None:
    with pytest.raises(BuildError, match=r"budget") as error:
        parse(text)
    assert "sqnr=30dB" in str(error.value)
    assert error.value.fix
