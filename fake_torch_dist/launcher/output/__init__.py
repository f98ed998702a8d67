"""The output of all ranks on its way to the launcher's own."""
