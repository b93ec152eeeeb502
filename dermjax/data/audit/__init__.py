"""Only a command, which people know by this name: `python -m dermjax.data.audit`."""
