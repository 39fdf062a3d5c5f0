"""How answers look on a terminal: a function for each, which takes a console and the answer."""
