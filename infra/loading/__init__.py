"""From files to recipes and documents: the only reader of YAML.

Every problem of every file is reported at once, with file, line and the path inside the file.
"""

from infra.loading.files import (
    document_problems,
    inspect_recipes,
    load_document,
    load_documents,
    load_program,
    load_recipes,
    recipe_files,
)
from infra.loading.problems import DocumentsError, FileProblem, FilesError, RecipesError, YamlError
from infra.loading.reader import load_yaml

__all__ = [
    "DocumentsError",
    "FileProblem",
    "FilesError",
    "RecipesError",
    "YamlError",
    "document_problems",
    "inspect_recipes",
    "load_document",
    "load_documents",
    "load_program",
    "load_recipes",
    "load_yaml",
    "recipe_files",
]
