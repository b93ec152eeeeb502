"""The command `python -m dermjax.data.audit`; `dermjax.cli.audit` is what it does."""

import sys

from dermjax.cli.audit import main

if __name__ == "__main__":
    sys.exit(main())
