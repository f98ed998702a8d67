"""Starting and ending the ranks of one node."""
