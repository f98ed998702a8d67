"""Log lines of the launcher, and its reports of failed ranks."""
