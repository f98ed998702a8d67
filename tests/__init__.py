"""Tests of both packages; what each folder holds is in tests/README.md."""
