"""Several nodes with a command each: how they find each other and are directed by one of them."""
