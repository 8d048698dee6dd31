"""Where things lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]
"""The checkout."""

HERE = ROOT / "benchmarks/python"
"""What these modules are imported from."""

PROGRAMS = HERE / "versus/programs"
"""Programs that a side starts."""

BENCHES = ROOT / "clients/python/benches"
"""Where the plain broker lies."""

ENVIRONMENT = ROOT / "target/python-benchmarks/environment"
"""Where the rivals are installed when nothing else is said."""

DATA = ROOT / "target/python-benchmarks/data"
"""Where files of turns are made when nothing else is said: on a disk wherever the checkout is."""

BINARY = ROOT / "target/release/trunkline"
"""The Rust binary when nothing else is said."""

REQUIREMENTS = HERE / "requirements.txt"
"""The packages of the rivals."""
