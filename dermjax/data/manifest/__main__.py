"""The command `python -m dermjax.data.manifest`; `dermjax.cli.manifest` is what it does."""

import sys

from dermjax.cli.manifest import main

if __name__ == "__main__":
    sys.exit(main())
