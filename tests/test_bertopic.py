"""DEC as the cluster model of BERTopic, with the real library (pip install bertopic; no extra brings it)."""

import numpy as np
import pytest
from sklearn.base import is_clusterer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

import holdfast as hf
from holdfast.metrics import clustering_accuracy

bertopic = pytest.importorskip("bertopic", reason="bertopic is not installed: pip install bertopic")

WORDS = {
    "cooking": "oven flour butter sugar bake recipe dough salt pepper garlic onion sauce boil simmer knife",
    "astronomy": "star planet orbit telescope galaxy comet moon eclipse nebula gravity asteroid solar lunar",
    "football": "goal striker referee penalty match league keeper defender stadium coach pass tackle corner",
    "finance": "bank loan interest stock bond market investor dividend credit debt broker asset fund profit",
    "gardening": "soil seed plant flower prune compost water root leaf weed rose hedge lawn spade bulb",
    "medicine": "doctor patient surgery nurse vaccine fever symptom clinic dose therapy virus diagnosis",
}
EVERYWHERE = "the a of with and in for on very new old day time people good long many first work year"


def write_documents(n, seed):
    """Return n texts about six subjects in turn, and their subjects."""
    rng = np.random.default_rng(seed)
    own = [words.split() for words in WORDS.values()]
    subjects = np.arange(n) % len(own)
    texts = [" ".join([*rng.choice(own[k], 9), *rng.choice(EVERYWHERE.split(), 5)]) for k in subjects]
    return texts, subjects


class Corpus:
    """300 texts to fit, 60 unseen ones, and embeddings of both that need no download."""

    def __init__(self):
        self.docs, self.y = write_documents(300, seed=0)
        self.new_docs, self.new_y = write_documents(60, seed=1)
        embed = make_pipeline(TfidfVectorizer(), TruncatedSVD(50, random_state=0)).fit(self.docs)
        self.X, self.new_X = embed.transform(self.docs), embed.transform(self.new_docs)


@pytest.fixture(scope="module")
def corpus():
    return Corpus()


def make(n_clusters=6, **options):
    """Return a topic model that clusters with DEC and, unless told otherwise, reduces nothing."""
    from bertopic.dimensionality import BaseDimensionalityReduction

    options = {"umap_model": BaseDimensionalityReduction(), "embedding_model": None, **options}
    return bertopic.BERTopic(hdbscan_model=hf.DEC(n_clusters, random_state=0), **options)


def transformed(topic_model, corpus):
    topics, _ = topic_model.transform(corpus.new_docs, corpus.new_X)
    return np.array(topics)


def test_topics_are_the_clusters_and_new_documents_find_theirs(corpus):
    topic_model = make()
    topics, probabilities = topic_model.fit_transform(corpus.docs, corpus.X)
    np.testing.assert_array_equal(probabilities, topic_model.hdbscan_model.probabilities_)
    assert "Probability" in topic_model.get_document_info(corpus.docs).columns
    assert is_clusterer(topic_model.hdbscan_model)
    assert clustering_accuracy(topic_model.hdbscan_model.labels_, np.array(topics)) == 1
    assert clustering_accuracy(corpus.y, np.array(topics)) == 1
    assert clustering_accuracy(corpus.new_y, transformed(topic_model, corpus)) == 1
    again, _ = topic_model.transform(corpus.docs, corpus.X)
    assert list(again) == topics
    for topic in range(6):
        words = {word for word, _ in topic_model.get_topic(topic)}
        (subject,) = set(corpus.y[np.array(topics) == topic])
        assert words <= set(list(WORDS.values())[subject].split())


def test_given_topics_do_not_teach_the_clusters(corpus):
    shuffled = np.random.default_rng(0).permutation(corpus.y)
    plain, _ = make().fit_transform(corpus.docs, corpus.X)
    taught, _ = make().fit_transform(corpus.docs, corpus.X, y=shuffled)
    assert plain == taught


def test_the_number_of_topics_may_be_left_to_the_data(corpus):
    topic_model = make("auto").fit(corpus.docs, corpus.X)
    assert topic_model.hdbscan_model.n_clusters_ == len(topic_model.get_topics()) == 6


def test_topics_are_updated_merged_and_reduced(corpus):
    topic_model = make().fit(corpus.docs, corpus.X)
    topic_model.update_topics(corpus.docs, n_gram_range=(1, 2))
    assert topic_model.hierarchical_topics(corpus.docs).shape[0] == 5
    topic_model.merge_topics(corpus.docs, [0, 1])
    assert clustering_accuracy(corpus.new_y, transformed(topic_model, corpus)) == pytest.approx(5 / 6)
    topic_model.reduce_topics(corpus.docs, nr_topics=4)
    assert set(topic_model.topics_) == set(transformed(topic_model, corpus)) == set(range(4))


@pytest.mark.parametrize("serialization", ["safetensors", "pytorch"])
def test_a_saved_topic_model_gives_the_same_topics(corpus, serialization, tmp_path):
    """BERTopic then compares with its topics' mean embeddings: the clusterer itself is not in the folder."""
    topic_model = make().fit(corpus.docs, corpus.X)
    topic_model.save(tmp_path / "model", serialization=serialization, save_ctfidf=True)
    loaded = bertopic.BERTopic.load(str(tmp_path / "model"))
    np.testing.assert_array_equal(transformed(loaded, corpus), transformed(topic_model, corpus))


def test_batches_of_documents_keep_their_topics(corpus):
    from bertopic.vectorizers import OnlineCountVectorizer

    topic_model = make(vectorizer_model=OnlineCountVectorizer(stop_words="english", decay=0.01))
    topics = []
    for first in range(0, 300, 60):
        rows = slice(first, first + 60)
        topic_model.partial_fit(corpus.docs[rows], corpus.X[rows])
        topics += list(topic_model.topics_)
    assert clustering_accuracy(corpus.y, np.array(topics)) == 1
    assert clustering_accuracy(corpus.new_y, transformed(topic_model, corpus)) == 1


@pytest.mark.slow
def test_behind_bertopics_own_umap(corpus):
    from umap import UMAP

    reduce = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0)
    topic_model = make(umap_model=reduce)
    topics, _ = topic_model.fit_transform(corpus.docs, corpus.X)
    assert clustering_accuracy(corpus.y, np.array(topics)) == 1
    assert clustering_accuracy(corpus.new_y, transformed(topic_model, corpus)) == 1
