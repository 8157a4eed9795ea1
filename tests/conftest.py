"""Fixtures import what they need when they are used: tests/losses runs with torch and pytest alone."""

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A tiny random model with tied embeddings, for reading only."""
    from tests.tiny import save_tiny_model

    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def policy(model_folder):
    """A fresh policy on the tiny model."""
    from tests.tiny import tiny_policy

    return tiny_policy(model_folder)
