"""The words of the command line: what an option takes, what a wrong one was meant as, what ``--help`` says."""
