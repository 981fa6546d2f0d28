from __future__ import annotations

import math

import numpy as np
import pytest

from deploy.errors import BuildError
from engines.logits import Logits
from engines.search.bounds import bounds_of
from engines.search.budget import parse

PLAIN = Logits("logits", "logits", "", -1)
ALL = slice(None)
EXACT = np.random.default_rng(0).normal(size=(4000, 6)) * 3


def noisy(power: float, seed: int = 1) -> np.ndarray:
    return EXACT + np.random.default_rng(seed).normal(size=EXACT.shape) * math.sqrt(power)


def test_sqnr_is_read_in_decibels_and_allows_its_share_of_the_power() -> None:
    (bound,) = bounds_of(parse("sqnr=20dB"), [PLAIN], [EXACT], {})
    reading = bound.read(EXACT, noisy(0.09), ALL)
    assert bound.allowed == pytest.approx(0.01)
    assert reading.value == pytest.approx(20, abs=0.2)
    assert bound.pressure(reading) == pytest.approx(1, abs=0.05)


def test_the_share_that_margins_predict_is_what_is_counted() -> None:
    """Two classes: noise of known power flips the share of samples that rule 3 says, within its sampling error."""
    two = EXACT[:, :2]
    (bound,) = bounds_of(parse("agreement=95%"), [PLAIN], [two], {})
    found = two + np.random.default_rng(2).normal(size=two.shape) * 0.4
    reading = bound.read(two, found, ALL)
    assert bound.expected(reading.noise, two, ALL) == pytest.approx(reading.value, abs=0.01)
    assert 0.02 < reading.value < 0.06


def test_the_noise_that_agreement_allows_leads_to_that_share() -> None:
    (bound,) = bounds_of(parse("agreement=98%"), [PLAIN], [EXACT], {})
    assert bound.expected(bound.allowed, EXACT, ALL) == pytest.approx(0.02, rel=1e-3)


def test_accuracy_is_lost_only_where_fp32_was_right() -> None:
    right = EXACT.argmax(axis=1)
    labels = {"logits": np.where(np.arange(len(right)) % 2, right, (right + 1) % 6)}
    (bound,) = bounds_of(parse("top1=1pp"), [PLAIN], [EXACT], labels)
    (unlabelled,) = bounds_of(parse("top1=1pp"), [PLAIN], [EXACT], {})
    assert bound.allowed > unlabelled.allowed
    found = EXACT.copy()
    found[1, right[1]] = -100.0  # one that was right is wrong now, and
    found[0, labels["logits"][0]] = 100.0  # one that was wrong is right
    found[3, right[3]] = -100.0
    assert bound.read(EXACT, found, ALL).value == pytest.approx(1 / 4000)
    assert unlabelled.read(EXACT, found, ALL).value == pytest.approx(3 / 4000)


def test_divergence_grows_with_the_square_of_the_error_and_a_sigmoid_is_two_classes() -> None:
    sigmoid = Logits("z", "p", "Sigmoid", -1)
    for one in (PLAIN, sigmoid):
        (bound,) = bounds_of(parse("kl=0.01"), [one], [EXACT], {})
        small, large = (bound.read(EXACT, EXACT + s * (noisy(1) - EXACT), ALL).value for s in (0.01, 0.02))
        assert large == pytest.approx(4 * small, rel=0.05)


def test_a_count_beyond_the_bound_is_pressure_even_where_the_noise_is_small() -> None:
    (bound,) = bounds_of(parse("agreement=99.99%"), [PLAIN], [EXACT], {})
    order = np.argsort(EXACT, axis=1)
    found = EXACT.copy()
    found[0, order[0, -2]] = EXACT[0, order[0, -1]] + 1e-6  # one flip, by next to nothing
    reading = bound.read(EXACT, found, ALL)
    assert reading.value == pytest.approx(1 / 4000)
    assert bound.pressure(reading) >= 2


def test_infinite_outputs_are_beyond_every_bound() -> None:
    found = EXACT.copy()
    found[0, 0] = np.inf
    for bound in bounds_of(parse("sqnr=1dB,kl=9,agreement=1%"), [PLAIN], [EXACT], {}):
        assert bound.pressure(bound.read(EXACT, found, ALL)) == math.inf


def test_classes_are_asked_of_a_model_that_has_none() -> None:
    with pytest.raises(BuildError, match="no output of this model has classes"):
        bounds_of(parse("top1=0.1pp"), [PLAIN], [EXACT[:, :1]], {})
    assert len(bounds_of(parse("sqnr=30dB"), [PLAIN], [EXACT[:, :1]], {})) == 1
