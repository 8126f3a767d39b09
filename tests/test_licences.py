"""Each licence is the right text, with the year and the author."""

import datetime
import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from answers import CHOICES

AUTHOR = 'Ada "The Countess" Lovelace & Søn'
APACHE_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
SENTENCES = {
    "MIT": "Permission is hereby granted, free of charge, to any person obtaining a copy",
    "Apache-2.0": "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    "BSD-3-Clause": "3. Neither the name of the copyright holder nor the names of its",
    "Proprietary": "This software is proprietary and confidential.",
}


@pytest.mark.parametrize("licence", CHOICES["license"])
def test_the_chosen_text_and_no_other(bake: Callable[..., Path], licence: str):
    text = (bake(license=licence, author_name=AUTHOR) / "LICENSE").read_text(encoding="utf-8")

    assert [name for name, sentence in SENTENCES.items() if sentence in text] == [licence]
    year = datetime.datetime.now(datetime.UTC).year
    assert text.count(f"{year} {AUTHOR}") == 1
    assert text.startswith("\n") == (licence == "Apache-2.0")  # as it is published


def test_the_apache_licence_is_complete(bake: Callable[..., Path]):
    text = (bake(license="Apache-2.0", author_name="Ada") / "LICENSE").read_text(encoding="utf-8")

    year = datetime.datetime.now(datetime.UTC).year
    published = text.replace(
        f"   Copyright {year} Ada\n", "   Copyright [yyyy] [name of copyright owner]\n"
    )
    assert hashlib.sha256(published.encode()).hexdigest() == APACHE_SHA256


@pytest.mark.parametrize("licence", CHOICES["license"])
def test_the_metadata_name_the_licence(bake: Callable[..., Path], licence: str):
    text = (bake(license=licence) / "pyproject.toml").read_text(encoding="utf-8")

    project = tomllib.loads(text)["project"]
    if licence == "Proprietary":
        assert "license" not in project
        assert project["classifiers"] == ["Private :: Do Not Upload"]
    else:
        assert project["license"] == licence
        assert project["license-files"] == ["LICENSE"]
