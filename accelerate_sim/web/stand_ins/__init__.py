"""Packages that take the place of others in the page; nothing outside of it imports them."""
