"""Packages that need not be there."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingPackageError


def needed(what: str, package: str) -> Any:
    """A package that something needs, which is also the name of the extra that has it.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{what} needs the package '{package}', which cannot be imported ({error}); install "
            f"it: pip install 'trunkline[{package}]'"
        ) from error
