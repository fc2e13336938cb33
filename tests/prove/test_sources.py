"""The page that tells what to download lists every source with its licence and commit."""

from cardiac_motion.prove.sources import SOURCES
from tests.bundles.running import ROOT


def test_the_page_lists_every_source():
    page = (ROOT / "docs/proof.md").read_text(encoding="utf-8")
    for source in SOURCES:
        assert source.folder in page and source.revision[:12] in page and source.licence.split(";")[0] in page


def test_missing_files_are_listed(tmp_path):
    source = SOURCES[0]
    path = tmp_path / source.folder / source.files[0]
    path.parent.mkdir(parents=True)
    path.touch()
    assert source.find_missing(tmp_path) == [f"{source.folder}/{file}" for file in source.files[1:]]
