"""Tests lie where the modules lie, so that who changes a module finds what holds it."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def stems(folder, pattern="*.py"):
    """Names of modules or of their tests; ``__main__`` is ``main``."""
    return {path.stem.removeprefix("test_").strip("_") for path in (ROOT / folder).glob(pattern)} - {"init"}


SHARED = ROOT / "common/cardiac_motion"
PACKAGES = sorted(path.parent.relative_to(SHARED).as_posix() for path in SHARED.glob("*/**/__init__.py"))
IN_THE_BROWSER = {"workbench"}  # tested as a person uses it, not module by module


def test_all_modules_are_in_packages():
    assert {path.name for path in SHARED.glob("*.py")} == {"__init__.py"}
    folders = {path.parent for path in SHARED.rglob("*.py")}
    assert {folder for folder in folders if not (folder / "__init__.py").is_file()} == set()
    assert max(len(folder.relative_to(SHARED).parts) for folder in folders) <= 2


@pytest.mark.parametrize("package", sorted(set(PACKAGES) - IN_THE_BROWSER))
def test_each_module_has_a_file_of_tests(package):
    assert not stems(f"common/cardiac_motion/{package}") - stems(f"tests/{package}", "test_*.py")


def test_no_module_is_longer_than_400_lines():
    sources = (path for folder in ("common", "apps", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py"))
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources}
    assert not {name: length for name, length in lengths.items() if length > 400}


HOMONYMS = {"Stage": "a stage of a network, and what is known after a scale of a registration"}
VAGUE = {"found", "told", "asked", "alone", "apart", "likeness", "shades"}  # names that say nothing of what is done
NEITHER = set(
    """
    a about above across after again against ahead alike all almost alone along also always an and another any apart are
    around as at away back be been before begun behind being below beneath beside besides between beyond both but by can
    carried chosen did do does done down drawn during each earlier either else enough even evenly ever every except few
    for found further given gone grown had have he held hence her here his how i if in inside instead into it its just
    kept known later left less like likewise listing look looks lost made many may me more most much must my near nearby
    neither never no nobody none nor not nothing of off often on once one only onto or other others our out over own per
    put quite rather real said same seen sent several she shall should shown shrunk since so some soon still such taken
    than that the their them then there these they thing things this those though through thus together told too toward
    towards two under unless unlike unseen until up upon us very was we were what when where whether which while who
    whole whom whose why will with within without worst worse would written yet you your
    """.split()
)  # first words that are neither a verb nor a quantity's term; nor are participles in -ed
TERMS = {
    "least_squares",
    "left_atrium",
    "left_heart",
    "left_ventricle",
    "one_hot",
    "masked_mean",
    "screened_laplacian",
    "signed_area",
    "signed_areas",
    "signed_distance",
    "speed",
    "warped_dice",
}  # of the field, which begin with such a word all the same
PROPERTIES = {"property", "cached_property", "setter"}  # a noun is right there


def definitions(*kinds):
    """Names of the classes or functions of all modules, methods too."""
    sources = (path for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    return [
        n.name
        for path in sources
        for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(n, kinds)
    ]


def test_a_class_has_a_name_of_its_own():
    sources = (ROOT / "common").rglob("*.py")
    names = [
        n.name
        for path in sources
        for n in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(n, ast.ClassDef)
    ]
    assert {name for name, count in Counter(names).items() if count > 1} == set(HOMONYMS)


def test_names_say_what_is_done():
    assert not VAGUE & set(definitions(ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    assert not VAGUE & {path.stem for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*")}


def is_a_name(name):
    """Whether a function's name begins with a verb, or is a quantity's term."""
    name = name.strip("_")
    first = name.split("_")[0]
    return name in TERMS or not (first in NEITHER or first.endswith("ed"))


def test_functions_are_verbs_or_quantities():
    """Nested ones and methods too; a conversion is ``from_x`` or ``to_x``, as in Python's own library."""
    sources = (path for folder in ("common", "apps", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
    names = {
        node.name
        for path in sources
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("__")
        and not PROPERTIES & {getattr(by, "id", getattr(by, "attr", "")) for by in node.decorator_list}
    }
    assert not sorted(name for name in names if not is_a_name(name))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("read_contour", True), ("is_finished", True), ("_evenly", False), ("with_bar", False), ("measured", False),
        ("gls", True), ("masked_mean", True), ("from_file_grid", True), ("of_rows", False), ("_on", False),
    ],
)  # fmt: skip
def test_what_a_name_may_be(name, allowed):
    assert is_a_name(name) is allowed
