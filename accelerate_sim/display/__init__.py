"""How a run looks: records in, text out. Only ``screen`` touches a terminal, and nothing here computes a figure."""
