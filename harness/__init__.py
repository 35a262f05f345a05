"""harness: batch evaluation and benchmarking of fine-tuning.

The public names are resolved when first used, so that importing the package stays cheap.
"""

from __future__ import annotations

__version__ = "0.1.0"
