"""The dashboard application: keys, themes and the terminal it runs in."""
