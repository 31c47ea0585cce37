"""IDEC: its loss is the paper's, by hand and by autograd, and the rest of it is DEC."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs

from holdfast import DEC, IDEC
from holdfast.cluster._stages import Corruption, Joint, JointOptions
from holdfast.evidence import evidence, neighbourhood_size
from holdfast.exceptions import InputError, NotConvergedWarning
from holdfast.functional.assignment import divergence, soft_cross_entropy, target_distribution
from holdfast.graph import jaccard_graph, nearest_neighbours, random_walk
from holdfast.metrics import ari
from holdfast.training.batches import Rows

pytestmark = pytest.mark.filterwarnings("ignore::holdfast.exceptions.HoldfastWarning")

QUICK = {"n_init": 2, "random_state": 0}
CPU = torch.device("cpu")
seeds = st.integers(0, 2**32 - 1)


def blobs(n=160, d=24, k=4, spread=4.0):
    X, y = make_blobs(n, n_features=d, centers=k, cluster_std=spread, random_state=0)
    return X.astype(np.float32), y


# --- the loss as one product --------------------------------------------------------------------------------


@given(seeds, st.integers(1, 20), st.integers(1, 9), st.floats(0, 5))
def test_one_cross_entropy_is_two_divergences_and_two_entropies(seed, n, k, weight):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(n, k, generator=generator, dtype=torch.float64)
    p, around = (
        torch.softmax(3 * torch.randn(n, k, generator=generator, dtype=torch.float64), 1) for _ in "ab"
    )
    entropies = torch.special.entr(p).sum(1).mean() + weight * torch.special.entr(around).sum(1).mean()
    expected = divergence(p, logits) + weight * divergence(around, logits)
    found = soft_cross_entropy(p + weight * around, logits) - entropies
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert found >= -1e-9


def test_soft_cross_entropy_by_hand():
    # rows: -(1 ln 1/2), -(1/4 ln 1/4 + 3/4 ln 3/4)
    logits = torch.log(torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    target = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    expected = (np.log(2) - 0.25 * np.log(0.25) - 0.75 * np.log(0.75)) / 2
    assert soft_cross_entropy(target, logits).item() == pytest.approx(expected, rel=1e-6)


# --- the stage ----------------------------------------------------------------------------------------------


def stage_on(X, *, gamma=None, weight=1.0, level=0.0, k=4, **parameters):
    """A joint stage over a module that was warm-started, and has a decoder."""
    module = copy.deepcopy(IDEC(k, max_epochs=0, pretrain_epochs=3, **QUICK, **parameters).fit(X).module_)
    neighbours = nearest_neighbours(X, neighbourhood_size(len(X), k))
    stage = Joint(
        module, Rows(X, CPU, module.prepare).hold(), lambda labels: evidence(labels, neighbours, k),
        random_walk(jaccard_graph(neighbours)), JointOptions(weight, 1, gamma),
        Corruption("mask", level, torch.Generator().manual_seed(5)),
    )  # fmt: skip
    stage.assess()
    return stage


def by_hand(stage, X, batch, weight):
    """DEC's loss with its neighbour term, from the formulas alone."""
    module = stage.module
    neighbours = nearest_neighbours(X, neighbourhood_size(len(X), len(module.centres)))
    W = torch.from_numpy(random_walk(jaccard_graph(neighbours)).toarray())
    with torch.no_grad():
        whole = module(torch.from_numpy(X))
        p, around = target_distribution(whole), target_distribution(W @ (W @ whole))
    q = module(torch.from_numpy(X[batch.numpy()]))

    def kl(target):
        return torch.special.xlogy(target[batch], target[batch] / q).sum(1).mean()

    return kl(p) + weight * kl(around)


def gradients(module, loss):
    module.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("weight", [0.0, 0.4])
@pytest.mark.parametrize(
    "parameters", [{}, {"encoder": "autoencoder", "hidden_dims": (16, 5)}, {"assignment": "student"}]
)
def test_the_gradient_is_that_of_the_divergences(weight, parameters):
    X, _ = blobs()
    stage = stage_on(X, weight=weight, **parameters)
    batch = torch.arange(3, 160, 5)
    terms, expected = stage.losses(batch), by_hand(stage, X, batch, weight)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-5)
    found, wanted = gradients(stage.module, terms["loss"]), gradients(stage.module, expected)
    assert set(found) == set(wanted)
    assert any(gradient.abs().max() > 1e-4 for gradient in wanted.values())
    for name, gradient in wanted.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max() + 1)
        )


@pytest.mark.parametrize("gamma", [0.1, 2.5])
@pytest.mark.parametrize("encoder", ["projection", "autoencoder"])
def test_the_loss_is_reconstruction_and_gamma_times_clustering(gamma, encoder):
    X, _ = blobs()
    more = {"encoder": encoder, "hidden_dims": (16, 5)}
    batch = torch.arange(0, 160, 3)
    plain, whole = stage_on(X, **more), stage_on(X, gamma=gamma, **more)
    terms, clustering = whole.losses(batch), plain.losses(batch)["loss"]
    module = whole.module
    x = module.prepare(torch.from_numpy(X[batch.numpy()]))
    restored = (module.encoder.decode(module.latent(x)) - x).square().mean()
    assert set(terms) == {"loss", "reconstruction"}
    torch.testing.assert_close(terms["reconstruction"], restored)
    torch.testing.assert_close(terms["loss"], restored + gamma * clustering)


@pytest.mark.parametrize("gamma", [None, 0.5])
def test_noise_goes_in_and_whole_rows_come_out(gamma):
    """Both terms look at the latent of the corrupted rows; the reconstruction compares it with the whole."""
    X, _ = blobs()
    stage = stage_on(X, gamma=gamma, level=0.3)
    batch = torch.arange(20)
    found = stage.losses(batch)
    module, x = stage.module, stage.module.prepare(torch.from_numpy(X[:20]))
    z = module.latent(Corruption("mask", 0.3, torch.Generator().manual_seed(5))(x))
    target = stage.target[:20]
    entropy = stage._floor[:20].mean()
    clustering = soft_cross_entropy(target, module.logits(z)) - entropy
    if gamma is None:
        torch.testing.assert_close(found["loss"], clustering)
    else:
        restored = (module.encoder.decode(z) - x).square().mean()
        torch.testing.assert_close(found["loss"], restored + gamma * clustering)


# --- the estimator ------------------------------------------------------------------------------------------


def test_it_clusters_and_says_what_it_restores():
    X, y = blobs(n=300, spread=2.0)
    model = IDEC(4, max_epochs=6, tol=0.0, **QUICK).fit(X)
    assert ari(y, model.labels_) > 0.95
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert model.evidence_["result"] >= model.evidence_["start"]
    restored = [entry["reconstruction"] for entry in model.history_]
    assert all(0 < value < 1 for value in restored), "entries are of unit size: nothing restores to 1"
    assert restored[-1] <= restored[0]


def test_warnings_name_the_estimator():
    with pytest.warns(NotConvergedWarning, match=r"^IDEC stopped after 1 of max_epochs=1, with labels still"):
        IDEC(4, max_epochs=1, tol=0.0, **QUICK).fit(blobs()[0])


def test_a_small_gamma_restores_better_than_a_large_one():
    X, _ = blobs(n=300)
    fits = [IDEC(4, gamma=g, max_epochs=6, tol=0.0, select="last", **QUICK).fit(X) for g in (0.01, 100.0)]
    first, last = (model.history_[-1]["reconstruction"] for model in fits)
    assert first < last


def test_dec_restores_nothing():
    X, _ = blobs()
    model = DEC(4, max_epochs=2, **QUICK).fit(X)
    assert not any("reconstruction" in entry for entry in model.history_)
    assert not any("back" in name for name in model.module_.state_dict())


@pytest.mark.parametrize(
    ("gamma", "said"),
    [(0, "0"), (-1.0, "-1.0"), (float("inf"), "inf"), (float("nan"), "nan"), ("0.1", "'0.1'"), (True, "True"),
     (None, "None")],
)  # fmt: skip
def test_gamma_outside_its_domain(gamma, said):
    model = IDEC(4, gamma=gamma)  # the constructor does not judge
    with pytest.raises(InputError) as caught:
        model.fit(blobs()[0])
    assert str(caught.value) == f"gamma must be a number in (0, inf), not {said}."
    assert not hasattr(model, "labels_")


def test_as_published_is_decs_recipe_with_gamma():
    model, dec = IDEC.as_published(7, max_epochs=2), DEC.as_published(7, max_epochs=2)
    assert type(model) is IDEC
    assert model.get_params() == dec.get_params() | {"gamma": 0.1}
    assert IDEC.as_published(3, gamma=0.7).gamma == 0.7


def test_as_published_runs_and_returns_its_last_state():
    X, y = blobs(n=300, spread=2.0)
    model = IDEC.as_published(4, hidden_dims=(64, 10), max_epochs=4, tol=0.0, random_state=0).fit(X)
    assert ari(y, model.labels_) > 0.5
    assert model.evidence_["result"] == pytest.approx(model.history_[-1]["evidence"])
    assert "neighbour" not in model.history_[0]
    assert model.history_[0]["reconstruction"] > 0


def test_further_rows_are_restored_too():
    X, _ = blobs(n=300)
    model = IDEC(4, max_epochs=2, **QUICK).fit(X)
    before = model.module_.encoder.back.weight.clone()
    model.partial_fit(X[:100])
    assert (model.module_.encoder.back.weight != before).any()
    np.testing.assert_array_equal(model.labels_, model.predict(X[:100]))


def test_numpys_numbers_are_numbers():
    X, _ = blobs()
    short = {"max_epochs": 1, **QUICK}
    found = IDEC(4, gamma=np.float32(0.5), **short).fit(X).predict_proba(X)
    np.testing.assert_array_equal(found, IDEC(4, gamma=0.5, **short).fit(X).predict_proba(X))
