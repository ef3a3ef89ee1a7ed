"""What a recipe may say already but the bakery cannot do yet.

A field whose behaviour is missing is refused rather than ignored: an image that silently skipped
its tests would be worse than none.
"""

from bakery.problems import Problem
from bakery.recipe import Recipe


def unsupported(recipe: Recipe) -> list[Problem]:
    """A problem for each field in use whose behaviour is not built yet."""
    in_use = {
        "windows": recipe.windows is not None,
    }
    return [
        Problem(path, "is not supported yet; remove it until a later release")
        for path, used in in_use.items()
        if used
    ]
