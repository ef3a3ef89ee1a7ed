"""How problems are shown."""

from bakery.problems import Problem, brief_listing, in_order, listing


def test_a_problem_is_shown_with_its_path() -> None:
    assert str(Problem("customize[2].shell", "is missing")) == "customize[2].shell: is missing"


def test_a_problem_of_the_whole_needs_no_path() -> None:
    assert str(Problem("", "there is no subnet")) == "there is no subnet"


def test_a_listing_is_in_the_same_order_whoever_found_what_first_and_says_nothing_twice() -> None:
    found = [Problem("b", "2"), Problem("a", "1"), Problem("", "0"), Problem("b", "2")]
    assert listing(found) == listing(reversed(found)) == "- 0\n- a: 1\n- b: 2"


def test_problems_are_ordered_as_the_recipe_is_read() -> None:
    paths = ["customize[10].shell", "customize[2].shell", "base"]
    ordered = in_order(Problem(path, "is wrong") for path in paths)
    assert [problem.path for problem in ordered] == [
        "base",
        "customize[2].shell",
        "customize[10].shell",
    ]


def test_a_brief_listing_is_short_whatever_the_paths() -> None:
    many = [
        Problem("x" * 100_000, "is no key"),
        *(Problem(f"k{n}", "is no key") for n in range(99)),
    ]
    text = brief_listing(many)
    assert text.splitlines()[0] == "- k0: is no key"
    assert text.splitlines()[-1] == "- and 80 more problems"
    assert len(brief_listing(many[:1])) < 100
